"""What a change of a cap would do, in facts and sentences, for the page that asks whether it is meant."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from msgspec.structs import replace

from accounts.admin.meters import standing_of
from accounts.booking.operations import Limits
from accounts.budgets import Owner, check_can_be_topped_up, find_budget, limits_of
from accounts.confirmation import Effect
from accounts.models import Account, Budget
from accounts.typed import describe_window, format_amount

Unit = Budget.Unit


def in_words(limits: Limits, unit: str) -> str:
    return "none" if limits.cap is None else f"{format_amount(limits.cap, unit)}, {describe_window(limits)}"


def tell(owner: Owner, unit: str) -> str:
    """The cap as it is now, in a sentence or two."""
    standing = standing_of(owner, unit)
    if standing is None or standing.cap is None:
        return f"There is no cap in {Unit(unit).label} now."
    spent = format_amount(standing.spent, unit)
    return f"Now the cap is {in_words(limits_of(standing.budget), unit)}, of which {spent} {_are(unit)} spent."


def effect_of_limits(owner: Owner, unit: str, after: Limits, *, seen: Limits) -> Effect:
    """Raises ValidationError if the limits are not those that the operator saw."""
    before = limits_of(find_budget(owner, unit))
    if seen != before:
        raise ValidationError({"cap": "Somebody else changed this cap meanwhile; above is what it is now."})
    facts = [("Cap", _amount(before, unit), _amount(after, unit))]
    if after.cap is not None:
        facts.append(("Window", "–" if before.cap is None else describe_window(before), describe_window(after)))
    return Effect(facts, _sentences(owner, unit, before, after))


def effect_of_top_up(owner: Owner, unit: str, amount: int) -> Effect:
    """Raises ValidationError where there is nothing to top up."""
    budget = check_can_be_topped_up(owner, unit)
    assert budget.limit is not None, "just checked"
    left = budget.limit - budget.spent - budget.reserved
    facts = [
        ("Cap", format_amount(budget.limit, unit), format_amount(budget.limit + amount, unit)),
        ("Left", format_amount(max(0, left), unit), format_amount(max(0, left + amount), unit)),
    ]
    return Effect(facts, ["The credit becomes an entry of the ledger, under your name."])


def _sentences(owner: Owner, unit: str, before: Limits, after: Limits) -> list[str]:
    if after.cap is None:
        return ["Nothing will be refused for this cap any more. What is spent still counts in the ledger."]
    standing = standing_of(owner, unit)
    spent, held = (standing.spent, standing.reserved) if standing else (0, 0)
    said = []
    if spent or held:
        running = f" and {format_amount(held, unit)} held by running requests" if held else ""
        said.append(f"{format_amount(spent, unit)} spent{running} count against it.")
    left = after.cap - spent - held
    if left > 0:
        said.append(f"{format_amount(left, unit)} will be left. A request that needs more is refused.")
    else:
        said.append("Nothing will be left: every new request is refused. What runs is not cut.")
        if held:
            said.append("The cap sinks to this value as running requests end.")
    if before.cap is not None and replace(before, cap=None) != replace(after, cap=None):
        said.append("What is spent stays spent until the new window turns over.")
    if unit == Unit.NANO_USD and before.cap is None:
        whose = "its keys" if isinstance(owner, Account) else "this key"
        said.append(f"From then on {whose} can use only models that have a price.")
    return said


def _amount(limits: Limits, unit: str) -> str:
    return "none" if limits.cap is None else format_amount(limits.cap, unit)


def _are(unit: str) -> str:
    return "is" if unit == Unit.NANO_USD else "are"
