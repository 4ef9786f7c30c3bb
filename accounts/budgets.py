"""What operators do to budgets and to the ledger: caps, top-ups, refunds. Every refusal is a ValidationError by field.

The books decide (accounts.booking); here a person's wish becomes an operation, and leaves history with its author.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum, Value
from django.db.models.functions import Least
from msgspec.structs import replace

from accounts.accounts import check_open
from accounts.authors import note_change
from accounts.booking.operations import Author, ChangeLimits, Credit, Declined, Done, Limits, Operation, Refund
from accounts.booking.transaction import book
from accounts.models import Account, ApiKey, Budget, Entry, Line
from accounts.models.account import one_line
from accounts.typed import (
    check_amount,
    describe_window,
    format_amount,
    format_window,
    parse_seconds,
    parse_window,
    parse_zone,
)

__all__ = [
    "MAX_REASON_CHARACTERS",
    "NO_CAP",
    "check_can_be_topped_up",
    "check_refund",
    "find_budget",
    "format_window",
    "lift_cap",
    "limits_of",
    "parse_window",
    "refund",
    "refundable",
    "set_limits",
    "top_up",
]

Owner = Account | ApiKey
Unit = Budget.Unit
Window = Budget.Window

MAX_REASON_CHARACTERS = 200

#: The limits of an owner that never had a budget in a unit.
NO_CAP = Limits(None, Window.BALANCE)


def find_budget(owner: Owner, unit: str) -> Budget | None:
    """The owner's budget in that unit; there is one once it had a cap."""
    return owner.budgets.filter(unit=unit).first()


def limits_of(budget: Budget | None) -> Limits:
    """What a person sees of a budget's limits, and names as `seen` when they change them."""
    if budget is None:
        return NO_CAP
    return Limits(budget.limit, budget.window, budget.window_seconds, budget.time_zone)


@transaction.atomic
def set_limits(
    owner: Owner, unit: str, limits: Limits, *, author: Author, reason: str = "", seen: Limits | None = None
) -> Budget:
    """Give the owner's budget these limits, and the owner a budget if there is none.

    A cap of None lifts it. `seen` are the limits the author decided on: if somebody changed them since, it is refused.
    """
    check_open(_account_of(owner))
    _check_limits(limits, unit)
    _check_reason(reason)
    if limits.cap is None and find_budget(owner, unit) is None:
        raise ValidationError({"cap": f"{_name(owner)} has no cap in {Unit(unit).label} that could be lifted."})
    budget, _ = Budget.objects.get_or_create(unit=unit, **_of(owner))
    _carry_out(ChangeLimits(budget.pk, limits, seen))
    note_change(budget, author, reason)
    return budget


def lift_cap(owner: Owner, unit: str, *, author: Author, reason: str = "") -> None:
    """Leave the owner without a cap in that unit."""
    budget = find_budget(owner, unit)
    if budget is not None and budget.cap is not None:
        set_limits(owner, unit, replace(limits_of(budget), cap=None), author=author, reason=reason)


@transaction.atomic
def top_up(owner: Owner, unit: str, amount: int, *, reason: str, author: Author) -> Entry:
    """Raise the owner's balance cap by `amount` tokens or nano-USD; the credit that says so."""
    check_amount(amount, unit, field="amount")
    _check_reason(reason)
    budget = check_can_be_topped_up(owner, unit)
    entry_id = _carry_out(Credit(budget.pk, _account_of(owner).pk, amount, reason, author))
    note_change(budget, author, f"topped up by {format_amount(amount, unit)}" + (f": {reason}" if reason else ""))
    return _entry(entry_id)


def check_can_be_topped_up(owner: Owner, unit: str) -> Budget:
    """The budget whose cap a credit can raise. Raises ValidationError where there is none."""
    account = _account_of(owner)
    check_open(account)
    if account.suspended:
        raise ValidationError({"account": f"Account {account} is suspended; resume it before topping it up."})
    if isinstance(owner, ApiKey) and owner.revoked_at is not None:
        raise ValidationError({"key": f"Key {owner.key_id} is revoked; nothing can be spent with it."})
    budget = find_budget(owner, unit)
    if budget is None or budget.cap is None:
        raise ValidationError({"cap": f"{_name(owner)} has no cap in {Unit(unit).label} to top up; set one first."})
    if budget.window != Window.BALANCE:
        resets = describe_window(budget)
        raise ValidationError({"cap": f"The cap of {_name(owner)} is {resets}; only a balance is topped up."})
    return budget


def refundable(entry: Entry) -> tuple[int, int]:
    """Tokens and nano-USD of an entry that are still billed: less what was refunded or corrected downward."""
    whole = Entry.objects.filter(refunds=entry)
    if entry.reservation_id is not None:
        whole |= Entry.objects.filter(reservation_id=entry.reservation_id, kind=Entry.Kind.CORRECTION)
    moved = whole.aggregate(
        tokens=Sum(Least("tokens", Value(0)), default=0), nano_usd=Sum(Least("nano_usd", Value(0)), default=0)
    )
    return max(0, entry.tokens + moved["tokens"]), max(0, entry.nano_usd + moved["nano_usd"])


def refund(
    entry: Entry, *, tokens: int | None = None, nano_usd: int | None = None, reason: str, author: Author
) -> Entry:
    """Give back part of an entry of usage, or without amounts all that is left; the entry that says so.

    Where one amount is given, the other is 0 unless given too.
    """
    _check_reason(reason)
    if not reason.strip():
        raise ValidationError({"reason": "A refund needs a reason; it stays on the books."})
    if entry.kind != Entry.Kind.USAGE:
        raise ValidationError({"entry": f"Entry {entry.pk} is a {entry.kind}; only usage can be refunded."})
    if tokens is None and nano_usd is None:
        tokens, nano_usd = refundable(entry)
        if not tokens and not nano_usd:
            raise ValidationError({"entry": f"Nothing is left of entry {entry.pk} to refund."})
    tokens, nano_usd = tokens or 0, nano_usd or 0
    check_refund(entry, tokens, nano_usd)
    budget_ids = tuple(Line.objects.filter(entry=entry).values_list("budget_id", flat=True))
    entry_id = _carry_out(Refund(entry.pk, budget_ids, tokens, nano_usd, reason, author))
    return _entry(entry_id)


def _carry_out(operation: Operation) -> int | None:
    """Book one operation: the entry it wrote. Raises ValidationError with the books' sentence if they decline it."""
    (answer,) = book([operation])
    if isinstance(answer, Declined):
        raise ValidationError({answer.field: answer.message})
    assert isinstance(answer, Done), answer
    return answer.entry_id


def _entry(entry_id: int | None) -> Entry:
    assert entry_id is not None, "a credit or a refund is an entry"
    return Entry.objects.get(pk=entry_id)


def _check_limits(limits: Limits, unit: str) -> None:
    if limits.cap is not None:
        check_amount(limits.cap, unit)
    if limits.window not in Window.values:
        raise ValidationError({"window": f"{limits.window!r} is not a window; choose one of {', '.join(Window)}."})
    if limits.window == Window.ROLLING:
        parse_seconds(str(limits.window_seconds or 0))
    elif limits.window_seconds is not None:
        raise ValidationError({"window_seconds": "Only a rolling window has a length in seconds."})
    parse_zone(limits.time_zone)


def _check_reason(reason: str) -> None:
    if len(reason) > MAX_REASON_CHARACTERS:
        sentence = f"The reason has {len(reason)} characters; at most {MAX_REASON_CHARACTERS} fit."
        raise ValidationError({"reason": sentence})
    try:
        one_line(reason)
    except ValidationError as error:
        raise ValidationError({"reason": error.messages}) from None


def check_refund(entry: Entry, tokens: int, nano_usd: int) -> None:
    """Raise ValidationError unless so much can be given back. The books refuse it too, but not in dollars."""
    tokens_left, nano_usd_left = refundable(entry)
    for name, unit, amount, left in (
        ("tokens", Unit.TOKENS, tokens, tokens_left),
        ("usd", Unit.NANO_USD, nano_usd, nano_usd_left),
    ):
        if not 0 <= amount <= left:
            most = format_amount(left, unit)
            raise ValidationError(
                {name: f"Of this entry between 0 and {most} can be given back; that is what is left."}
            )
    if not tokens and not nano_usd:
        raise ValidationError({"tokens": "Give back more than 0 tokens or 0 dollars."})


def _account_of(owner: Owner) -> Account:
    return owner if isinstance(owner, Account) else owner.account


def _of(owner: Owner) -> dict[str, Any]:
    return {"account" if isinstance(owner, Account) else "key": owner}


def _name(owner: Owner) -> str:
    return f"Account {owner.name}" if isinstance(owner, Account) else f"Key {owner.key_id}"
