"""The rows a batch has locked, as plain objects that `decide` reads and changes."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from accounts.booking.windows import CALENDAR, Window, opening_end
from accounts.models import Budget
from accounts.money import Counts, Prices

#: Parts of a cap whose passing is announced, in percent.
THRESHOLDS = (80, 100)


class BudgetState(msgspec.Struct):
    """One locked budget. The fields are those of accounts.models.Budget, in the order in which they are read."""

    id: int
    account_id: int | None
    key_id: int | None
    unit: str
    cap: int | None
    cap_wanted: int | None
    window: str
    window_seconds: int | None
    time_zone: str
    window_number: int
    window_ends_at: datetime | None
    spent: int
    reserved: int
    #: Thresholds passed in this batch: percent, spent, cap.
    passed: list[tuple[int, int, int]] = msgspec.field(default_factory=list)

    @property
    def limit(self) -> int | None:
        """What new reservations are held against: a cap that is to sink binds at once."""
        return self.cap if self.cap_wanted is None else self.cap_wanted

    @property
    def room(self) -> float:
        """How much more may be reserved."""
        return math.inf if self.limit is None else self.limit - self.spent - self.reserved

    def roll(self, now: datetime) -> None:
        """Turn over if the window has ended: nothing spent, the next number, and what is reserved stays reserved."""
        if self.window_ends_at is None:
            if self.window in CALENDAR:
                self.window_ends_at = opening_end(self.window, None, self.time_zone, now)
            return
        if now < self.window_ends_at:
            return
        self.spent = 0
        self.window_number += 1
        rolling = self.window == Window.ROLLING
        self.window_ends_at = None if rolling else opening_end(self.window, None, self.time_zone, now)
        self.sink()

    def use(self, now: datetime) -> None:
        """A rolling window opens with the first use after the last one ended."""
        if self.window == Window.ROLLING and self.window_ends_at is None:
            self.window_ends_at = opening_end(self.window, self.window_seconds, self.time_zone, now)

    def hold(self, amount: int) -> None:
        self.reserved += amount

    def let_go(self, amount: int) -> None:
        self.reserved -= amount
        self.sink()

    def spend(self, amount: int) -> None:
        """Count what was spent (negative: given back), and note which thresholds that passed."""
        before, self.spent = self.spent, self.spent + amount
        if self.limit:
            for percent in THRESHOLDS:
                if before * 100 < percent * self.limit <= self.spent * 100:
                    self.passed.append((percent, self.spent, self.limit))
        self.sink()

    def set_cap(self, cap: int | None) -> None:
        """Give it this cap: at once where it fits, else as a wish that the cap sinks to while reservations close."""
        self.cap = self.cap_wanted = cap
        self.sink()

    def sink(self) -> None:
        if self.cap is None or self.cap_wanted is None:
            self.cap_wanted = None
            return
        self.cap = max(self.cap_wanted, self.spent + self.reserved)
        if self.cap == self.cap_wanted:
            self.cap_wanted = None

    def amount(self, tokens: int, nano_usd: int) -> int:
        """The one of the two that this budget counts."""
        return tokens if self.unit == Budget.Unit.TOKENS else nano_usd


class ReservationState(msgspec.Struct, frozen=True):
    """A reservation as the batch read or closed it."""

    id: UUID
    state: str
    account_id: int
    key_id: int
    model: str
    node: str
    granted: int
    completion_bound: int
    budget_ids: list[int]
    held: list[int]
    prices: Prices | None

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> ReservationState:
        prices = None if row[-4] is None else Prices(*row[-4:])
        return cls(*row[:-4], prices)  # type: ignore[call-arg]  # a row has as many columns as there are fields


class EntryState(msgspec.Struct):
    """An entry of usage that a refund or a correction is for, what it has left to give back, and its lines."""

    id: int
    debit_id: int
    credit_id: int
    key_id: int | None
    reservation_id: UUID | None
    model: str
    node: str
    counts: Counts
    tokens_left: int
    nano_usd_left: int
    lines: list[tuple[int, int, int]]  # budget id, window number, amount

    def change(self, tokens: int, nano_usd: int) -> tuple[int, int]:
        """What of a change there is room for: downward no more than is left."""
        tokens, nano_usd = max(tokens, -self.tokens_left), max(nano_usd, -self.nano_usd_left)
        self.tokens_left += min(tokens, 0)
        self.nano_usd_left += min(nano_usd, 0)
        return tokens, nano_usd
