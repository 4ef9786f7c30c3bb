"""The admin's forms: every refusal is a sentence that names its field."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, cast

from django import forms
from django.db.models import Field
from django.utils import timezone
from msgspec.structs import astuple
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
)

from accounts.accounts import check_open
from accounts.booking.operations import Limits
from accounts.booking.windows import CALENDAR
from accounts.budgets import MAX_REASON_CHARACTERS
from accounts.keys import split_model_ids
from accounts.models import Account, ApiKey, Budget, Webhook
from accounts.models.account import one_line
from accounts.models.api_key import EXPIRY_PASSED
from accounts.typed import format_amount, parse_amount, parse_seconds, parse_zone, type_amount

Window = Budget.Window


def _messages(model: type[Account | ApiKey], name: str) -> dict[str, Any]:
    return cast("Field[Any, Any]", model._meta.get_field(name)).error_messages


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = Account
        fields = ["name"]
        error_messages = {"name": {**_messages(Account, "name"), "required": _messages(Account, "name")["blank"]}}


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

    def clean_account(self) -> Account:
        account: Account = self.cleaned_data["account"]
        try:
            check_open(account)
        except forms.ValidationError as error:
            raise forms.ValidationError(error.messages) from None
        return account

    def clean_expires_at(self) -> datetime | None:
        """An expired key may still be relabelled: only a new expiry has to lie in the future."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise forms.ValidationError(EXPIRY_PASSED)
        return expires_at


def _reason(*, required: bool = False) -> forms.CharField:
    return forms.CharField(
        required=required,
        label="Reason",
        widget=UnfoldAdminTextInputWidget,
        help_text="Kept with the change, for whoever asks later.",
        max_length=MAX_REASON_CHARACTERS,
        validators=[one_line],
        error_messages={
            "required": "A refund needs a reason; it stays on the books.",
            "max_length": "The reason has %(show_value)d characters; at most %(limit_value)d fit.",
        },
    )


class AmountField(forms.CharField):
    """Tokens, or dollars as nano-USD, by the unit of its form; None where nothing was typed."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, unit: str, **options: Any) -> None:
        super().__init__(**options)
        self.unit = unit

    def to_python(self, value: Any) -> Any:
        text = (super().to_python(value) or "").strip()
        if not text:
            return None
        try:
            return parse_amount(text, self.unit)
        except forms.ValidationError as error:
            raise forms.ValidationError(error.messages) from None


class CapForm(forms.Form):
    """A cap and its window. `seen` remembers what was the case when the form was first shown."""

    window = forms.ChoiceField(
        label="Starts anew",
        choices=Window.choices,
        widget=UnfoldAdminSelectWidget,
        error_messages={"invalid_choice": "“%(value)s” is not a window; choose one from the list."},
    )
    window_seconds = forms.CharField(
        required=False,
        label="After so many seconds",
        widget=UnfoldAdminTextInputWidget,
        help_text="Counted from the first use after the last window ended.",
    )
    time_zone = forms.CharField(
        required=False,
        label="Time zone",
        widget=UnfoldAdminTextInputWidget,
        help_text="Where the day, week or month begins, for example Europe/Berlin.",
    )
    reason = _reason()
    seen = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, data: Any, *, unit: str, seen: Limits) -> None:
        initial = {
            "cap": "" if seen.cap is None else type_amount(seen.cap, unit),
            "window": seen.window,
            "window_seconds": seen.window_seconds or "",
            "time_zone": seen.time_zone,
            "seen": _write_limits(seen),
        }
        super().__init__(data, initial=initial)
        self._now = seen
        self.fields["cap"] = AmountField(
            unit,
            required=False,
            label="Cap in dollars" if unit == Budget.Unit.NANO_USD else "Cap in tokens",
            help_text="Empty means no cap.",
        )
        self.order_fields(["cap", "window", "window_seconds", "time_zone", "reason", "seen"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        window = cleaned.get("window")
        try:
            seconds = parse_seconds(cleaned["window_seconds"]) if window == Window.ROLLING else None
            zone = parse_zone(cleaned["time_zone"] or "UTC") if window in CALENDAR else "UTC"
        except forms.ValidationError as error:
            self.add_error(None, error)
            return cleaned
        cleaned["seen"] = _read_limits(cleaned.get("seen", ""))
        if cleaned["seen"] != self._now:
            self._show_what_is_now()
        if "cap" in cleaned and window is not None:
            cleaned["limits"] = Limits(cleaned["cap"], window, seconds, zone)
        return cleaned

    def _show_what_is_now(self) -> None:
        """Whoever is told that somebody else was faster decides again on what is the case now."""
        self.data = {**self.data.dict(), "seen": _write_limits(self._now)}  # type: ignore[attr-defined]  # a QueryDict


class TopUpForm(forms.Form):
    reason = _reason()

    def __init__(self, data: Any, *, unit: str) -> None:
        super().__init__(data)
        self.fields["amount"] = AmountField(
            unit,
            label="By how many dollars" if unit == Budget.Unit.NANO_USD else "By how many tokens",
            error_messages={"required": "Say by how much the cap is raised."},
        )
        self.order_fields(["amount", "reason"])


class RefundForm(forms.Form):
    """How much of an entry is given back; an empty amount is 0."""

    reason = _reason(required=True)

    def __init__(self, data: Any, *, tokens: int, nano_usd: int) -> None:
        super().__init__(data)
        for name, unit, left, label in (
            ("tokens", Budget.Unit.TOKENS, tokens, "Tokens"),
            ("usd", Budget.Unit.NANO_USD, nano_usd, "Dollars"),
        ):
            self.fields[name] = AmountField(
                unit,
                required=False,
                label=label,
                initial=type_amount(left, unit) if left else "",
                disabled=not left,
                help_text=f"At most {format_amount(left, unit)}; empty gives back none.",
            )
        self.order_fields(["tokens", "usd", "reason"])


def _write_limits(limits: Limits) -> str:
    return json.dumps(astuple(limits))


def _read_limits(text: str) -> Limits:
    """For what this form never wrote, limits that no budget has: nobody saw them."""
    try:
        return Limits(*json.loads(text))
    except (ValueError, TypeError):
        return Limits(None, "")


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    url = forms.URLField(
        label="Address",
        max_length=500,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget,
        help_text="Where a signed POST goes for every warning.",
        error_messages={
            "required": "The address is missing: where calls are sent, for example https://example.org/hook.",
            "invalid": "This is not an address; write it as https://example.org/hook.",
            "max_length": "The address has %(show_value)d characters; at most %(limit_value)d fit.",
        },
    )

    class Meta:
        model = Webhook
        fields = ["account", "url", "enabled"]
        error_messages = {
            "account": {"invalid_choice": "There is no such account; choose one from the list, or none for all."}
        }

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        if not url.startswith(("https://", "http://")):
            raise forms.ValidationError("The address must start with https:// or http://.")
        return url
