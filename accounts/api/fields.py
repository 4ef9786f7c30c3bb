"""Fields that several serializers share: text without surprises, and amounts as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError as RuleBroken
from django.core.validators import MaxValueValidator, MinValueValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Budget
from accounts.models.account import one_line
from accounts.typed import parse_amount
from helexa.usd import format_usd

#: Units by the names they have in the API.
UNITS = {"tokens": Budget.Unit.TOKENS, "usd": Budget.Unit.NANO_USD}

AMOUNT = {
    "oneOf": [{"type": "integer"}, {"type": "string", "format": "decimal"}],
    "description": "Whole tokens as an integer; US dollars as a decimal string.",
}


class Line(serializers.CharField):
    """One line of text; a number is no text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators.append(one_line)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("This must be a string.")
        return super().to_internal_value(data)


@extend_schema_field(AMOUNT)
class Amount(serializers.Field):  # type: ignore[type-arg]
    """An amount of a unit that is known elsewhere: `amount_of` reads it, `type_amount` writes it."""

    def to_internal_value(self, data: Any) -> int | str:
        if isinstance(data, bool) or not isinstance(data, int | str):
            raise serializers.ValidationError('Write tokens as a whole number, and dollars as a string like "12.50".')
        return data

    def to_representation(self, value: Any) -> Any:
        return value


def amount_of(typed: int | str | None, unit: str, *, field: str) -> int | None:
    """What an Amount means in a unit. Raises ValidationError naming `field`."""
    if typed is None:
        return None
    if unit == Budget.Unit.TOKENS and isinstance(typed, str):
        raise RuleBroken({field: f"{typed[:40]!r} is not a whole number; write tokens as 50000, without quotes."})
    return parse_amount(_digits(typed), unit, field=field)


def _digits(typed: int | str) -> str:
    # Python refuses to write out integers of more than 4,300 digits; so many are too many anyway.
    return typed if isinstance(typed, str) else f"{min(max(typed, -(10**30)), 10**30)}"


def name_of(unit: str) -> str:
    """How the API calls a unit."""
    return next(name for name, known in UNITS.items() if known == unit)


def type_amount(amount: int | None, unit: str) -> int | str | None:
    if amount is None:
        return None
    return format_usd(amount) if unit == Budget.Unit.NANO_USD else amount


@extend_schema_field({"type": "string", "format": "decimal"})
class Usd(serializers.Field):  # type: ignore[type-arg]
    """Nano-USD, shown as a decimal string of dollars."""

    def to_representation(self, value: int) -> str:
        return format_usd(value)


class Moment(serializers.DateTimeField):
    """A date is its midnight; without an offset it is UTC. Left out are the ends of time, where no day can be added."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        first, last = (datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 3000))
        self.validators += [MinValueValidator(first), MaxValueValidator(last)]


class Period(serializers.Serializer[Any]):
    """`?from=&to=`."""

    to = Moment(required=False, help_text="Before this moment.")

    def get_fields(self) -> dict[str, Any]:
        """With `from`, which Python keeps for itself."""
        return {
            "from": Moment(required=False, help_text="This moment or later."),
            **super().get_fields(),
        }
