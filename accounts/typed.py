"""Caps and windows as people type them: `5000`, `12.50`, `balance`, `rolling:3600`, `calendar:day@Europe/Berlin`."""

from __future__ import annotations

from zoneinfo import available_timezones

from django.core.exceptions import ValidationError

from accounts.booking.operations import Limits
from accounts.models import Budget
from accounts.models.budget import MAX_WINDOW_S
from helexa.usd import MAX_AMOUNT, NANO, AmountError, format_usd, parse_usd

Unit = Budget.Unit
Window = Budget.Window

#: A window, its length if it rolls, and its time zone.
Typed = tuple[str, int | None, str]

FORMS = "balance, rolling:SECONDS, or calendar:day, week or month with @Area/City where it is not UTC"


def parse_window(text: str, *, field: str = "window") -> Typed:
    """Window, seconds and time zone of a typed window. Raises ValidationError naming `field`."""
    kind, separator, rest = text.strip().partition(":")
    if kind == Window.BALANCE and not separator:
        return Window.BALANCE, None, "UTC"
    if kind == Window.ROLLING:
        return Window.ROLLING, parse_seconds(rest, field=field), "UTC"
    period, at, zone = rest.partition("@")
    if kind == "calendar" and period in (Window.DAY, Window.WEEK, Window.MONTH):
        return period, None, parse_zone(zone if at else "UTC", field=field)
    raise ValidationError({field: f"{text!r} is not a window; write {FORMS}."})


def parse_seconds(text: str, *, field: str = "window_seconds") -> int:
    """The length of a rolling window. Raises ValidationError naming `field`."""
    text = text.strip()
    seconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
    if not 1 <= seconds <= MAX_WINDOW_S:
        raise ValidationError(
            {field: f"A rolling window lasts from 1 to {MAX_WINDOW_S} whole seconds, not {text[:40]!r}."}
        )
    return seconds


def parse_zone(text: str, *, field: str = "time_zone") -> str:
    """The name of a time zone. Raises ValidationError naming `field`."""
    name = text.strip()
    if name not in available_timezones():
        raise ValidationError({field: f"{name[:40]!r} is not a time zone; write it as Europe/Berlin."})
    return name


def format_window(limits: Limits | Budget) -> str:
    """The inverse of `parse_window`."""
    if limits.window == Window.BALANCE:
        return "balance"
    if limits.window == Window.ROLLING:
        return f"rolling:{limits.window_seconds}"
    return f"calendar:{limits.window}" + ("" if limits.time_zone == "UTC" else f"@{limits.time_zone}")


def parse_amount(text: str, unit: str, *, field: str = "cap") -> int:
    """A positive amount: whole tokens, or nano-USD typed as dollars. Raises ValidationError naming `field`."""
    try:
        amount = parse_usd(text) if unit == Unit.NANO_USD else _parse_tokens(text)
    except AmountError as error:
        raise ValidationError({field: str(error)}) from None
    check_amount(amount, unit, field=field)
    return amount


def check_amount(amount: int, unit: str, *, field: str = "cap") -> None:
    """Raise ValidationError naming `field` unless an amount, in tokens or nano-USD, can be a cap or a credit."""
    if amount < 1:
        raise ValidationError({field: f"{format_amount(amount, unit)} is too little: it must be more than 0."})
    if amount > MAX_AMOUNT:
        most = format_amount(MAX_AMOUNT, unit)
        raise ValidationError({field: f"{format_amount(amount, unit)} is too much; the most is {most}."})


def format_amount(amount: int, unit: str) -> str:
    """`12,000 tokens` or `12.50 USD`."""
    if unit == Unit.NANO_USD:
        return f"{format_usd(amount)} USD"
    return f"{amount:,} token" if amount == 1 else f"{amount:,} tokens"


def type_amount(amount: int, unit: str) -> str:
    """The inverse of `parse_amount`."""
    return format_usd(amount) if unit == Unit.NANO_USD else str(amount)


def describe_window(limits: Limits | Budget) -> str:
    """`never reset`, `reset each day (Europe/Berlin)` or `reset 3,600 s after its first use`."""
    if limits.window == Window.BALANCE:
        return "never reset"
    if limits.window == Window.ROLLING:
        return f"reset {limits.window_seconds:,} s after its first use"
    return f"reset each {limits.window} ({limits.time_zone})"


def _parse_tokens(text: str) -> int:
    digits = text.strip().replace(",", "").replace("_", "")
    sign = digits[:1] == "-"
    if not (digits[sign:].isascii() and digits[sign:].isdecimal()):
        raise AmountError(f"{text.strip()[:40]!r} is not a whole number of tokens; write it as 50000.")
    if len(digits) > 2 * len(str(NANO)):
        raise AmountError(f"So many tokens cannot be counted; the most is {MAX_AMOUNT}.")
    return int(digits)
