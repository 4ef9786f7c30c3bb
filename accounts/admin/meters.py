"""A budget as a page shows it: what is spent and held of its cap, and what there is to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.timesince import timeuntil

from accounts.budgets import Owner, find_budget
from accounts.models import Account, Budget
from accounts.standing import Standing, standings
from accounts.typed import describe_window, format_amount

Unit = Budget.Unit

TITLES: dict[str, str] = {Unit.TOKENS: "Tokens", Unit.NANO_USD: "US dollars"}


@dataclass(frozen=True)
class Meter:
    """Texts and shares of one bar; `level` colours it. Without a cap there is nothing but the way to set one."""

    title: str
    cap_url: str
    top_up_url: str = ""
    history_url: str = ""
    cap: str = ""
    spent: str = ""
    held: str = ""
    left: str = ""
    window: str = ""
    sinking: str = ""
    spent_percent: float = 0
    held_percent: float = 0
    level: str = "calm"


def owner_url(owner: Owner, page: str, *arguments: str) -> str:
    """The address of an admin page of an account or a key."""
    model = "account" if isinstance(owner, Account) else "apikey"
    return reverse(f"admin:accounts_{model}_{page}", args=[owner.pk, *arguments])


def meters_of(owner: Owner) -> list[Meter]:
    """A meter for tokens and one for dollars."""
    return [_meter(owner, unit) for unit in Unit]


def standing_of(owner: Owner, unit: str) -> Standing | None:
    """How the owner's budget stands now; None where it never had one."""
    budget = find_budget(owner, unit)
    return standings([budget])[0] if budget else None


def _meter(owner: Owner, unit: str) -> Meter:
    standing = standing_of(owner, unit)
    cap_url = owner_url(owner, "cap", unit)
    history_url = reverse("admin:accounts_budget_history", args=[standing.budget.pk]) if standing else ""
    if standing is None or standing.cap is None:
        return Meter(TITLES[unit], cap_url, history_url=history_url)
    budget = standing.budget
    return Meter(
        title=TITLES[unit],
        cap_url=cap_url,
        top_up_url=owner_url(owner, "top_up", unit) if budget.window == Budget.Window.BALANCE else "",
        history_url=history_url,
        cap=format_amount(standing.cap, unit),
        spent=format_amount(standing.spent, unit),
        held=format_amount(standing.reserved, unit) if standing.reserved else "",
        left=format_amount(standing.left or 0, unit),
        window=_window(standing),
        sinking=_sinking(budget),
        spent_percent=_percent(standing.spent, standing.cap),
        held_percent=_percent(standing.reserved, standing.cap),
        level=_level(standing.spent, standing.cap),
    )


def _sinking(budget: Budget) -> str:
    """The cap that still holds, where it waits for requests to end before it is what it should be."""
    return format_amount(budget.cap, budget.unit) if budget.cap is not None and budget.cap_wanted is not None else ""


def _window(standing: Standing) -> str:
    words = describe_window(standing.budget)
    return f"{words}, next in {timeuntil(standing.resets_at, depth=1)}" if standing.resets_at else words


def _percent(part: int, whole: int) -> float:
    """A share of the bar; what sinks may be more than the cap."""
    return min(100.0, round(100 * part / whole, 2))


def _level(spent: int, cap: int) -> str:
    if spent >= cap:
        return "full"
    return "near" if spent * 100 >= 80 * cap else "calm"
