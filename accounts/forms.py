"""The admin's forms of accounts and keys: every refusal is a sentence that names its field."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django import forms
from django.db.models import Field
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.keys import split_model_ids
from accounts.models import Account, ApiKey
from accounts.models.api_key import EXPIRY_PASSED


def _messages(model: type[Account | ApiKey], name: str) -> dict[str, Any]:
    return cast("Field[Any, Any]", model._meta.get_field(name)).error_messages


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = Account
        fields = ["name"]
        error_messages = {
            "name": {**_messages(Account, "name"), "required": _messages(Account, "name")["blank"]},
        }


class ModelIdsField(forms.CharField):
    """Model ids, typed with commas or one a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 2})

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return split_model_ids(value or "")


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    allowed_models = ModelIdsField(
        required=False, help_text=ApiKey._meta.get_field("allowed_models").help_text, label="Allowed models"
    )

    class Meta:
        model = ApiKey
        fields = ["account", "label", "scope", "allowed_models", "expires_at"]
        error_messages = {
            "account": {
                "required": "Choose the account that the key belongs to.",
                "invalid_choice": "There is no such account; choose one from the list, or add it first.",
            },
            "label": _messages(ApiKey, "label"),
            "scope": {
                "required": "Choose a scope: inference, account or operator.",
                "invalid_choice": "“%(value)s” is not a scope; choose inference, account or operator.",
            },
            "expires_at": {
                "invalid_date": "The expiry's date is not one; write it as 2027-01-31.",
                "invalid_time": "The expiry needs a time as well, in UTC; write it as 18:00.",
            },
        }

    def clean_expires_at(self) -> datetime | None:
        """An expired key may still be relabelled: only a new expiry has to lie in the future."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise forms.ValidationError(EXPIRY_PASSED)
        return expires_at
