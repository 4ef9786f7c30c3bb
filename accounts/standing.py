"""How a budget stands at this moment, for people to look at: as the next booking would find it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from accounts.booking.state import BudgetState
from accounts.models import Budget


@dataclass(frozen=True, slots=True)
class Standing:
    """Amounts in the budget's unit. `resets_at` is None for a balance, and for a rolling window that is not open."""

    budget: Budget
    cap: int | None
    spent: int
    reserved: int
    resets_at: datetime | None

    @property
    def left(self) -> int | None:
        return None if self.cap is None else max(0, self.cap - self.spent - self.reserved)


def standings(budgets: Iterable[Budget]) -> list[Standing]:
    """Each budget with its window turned over where it has ended, on the database's clock; no row is touched."""
    found = list(budgets)
    now = _database_now() if found else None
    return [_standing(budget, now) for budget in found if now]


def _standing(budget: Budget, now: datetime) -> Standing:
    state = BudgetState(
        id=budget.pk,
        account_id=budget.account_id,
        key_id=budget.key_id,
        unit=budget.unit,
        cap=budget.cap,
        cap_wanted=budget.cap_wanted,
        window=budget.window,
        window_seconds=budget.window_seconds,
        time_zone=budget.time_zone,
        window_number=budget.window_number,
        window_ends_at=budget.window_ends_at,
        spent=budget.spent,
        reserved=budget.reserved,
    )
    state.roll(now)
    return Standing(budget, state.limit, state.spent, state.reserved, state.window_ends_at)


def _database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
