"""The admin's form of a catalogue entry."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from fleet.models import Profile
from fleet.prices import parse_price
from helexa.usd import format_usd


class NamesField(forms.CharField):
    """Names separated by commas, each kept once."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return list(dict.fromkeys(name for part in (value or "").split(",") if (name := part.strip())))


class PriceField(forms.CharField):
    """A price in dollars per 1M tokens; empty where none is set."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, *, label: str, help_text: str = "") -> None:
        super().__init__(required=False, label=label, help_text=help_text)

    def prepare_value(self, value: Any) -> Any:
        return format_usd(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        return parse_price(value) if value else None


class ProfileForm(forms.ModelForm):
    pinned_on = NamesField(required=False, help_text=Profile._meta.get_field("pinned_on").help_text, label="Pinned on")
    input_price = PriceField(label="Input", help_text="Dollars per 1M tokens; 0 costs nothing, empty sets no price.")
    output_price = PriceField(label="Output")
    cached_price = PriceField(label="Cached input", help_text="Empty: as input.")
    reasoning_price = PriceField(label="Reasoning", help_text="Empty: as output.")

    class Meta:
        model = Profile
        fields = [
            "model_id",
            "source",
            "harness",
            "pinned_on",
            "input_price",
            "output_price",
            "cached_price",
            "reasoning_price",
        ]
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
