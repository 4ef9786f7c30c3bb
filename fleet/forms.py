"""The admin's form of a catalogue entry."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from fleet.models import Profile


class NamesField(forms.CharField):
    """Names separated by commas, each kept once."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return list(dict.fromkeys(name for part in (value or "").split(",") if (name := part.strip())))


class ProfileForm(forms.ModelForm):
    pinned_on = NamesField(required=False, help_text=Profile._meta.get_field("pinned_on").help_text, label="Pinned on")

    class Meta:
        model = Profile
        fields = ["model_id", "source", "harness", "pinned_on"]
        error_messages = {
            "model_id": {
                "required": "The model id is missing; it is the name that clients send.",
                "max_length": "The model id has %(show_value)d characters; at most %(limit_value)d fit.",
                "unique": "The catalogue has a model of this id already.",
            },
            "source": {
                "required": "The source is missing: a hub id, a folder, or a .gguf file on the neuron's host.",
                "max_length": "The source has %(show_value)d characters; at most %(limit_value)d fit.",
            },
            "harness": {"invalid_choice": "“%(value)s” is not a harness; choose one from the list."},
        }
