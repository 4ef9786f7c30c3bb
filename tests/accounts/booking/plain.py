"""A batch decided without a database: rows made up by the test, and what `decide` makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from accounts.booking.decide import Read, Step, decide, step_of
from accounts.booking.operations import Answer, Correct, Extend, Need, Operation, Refund, Release, Reserve, Settle
from accounts.booking.state import BudgetState, EntryState, ReservationState
from accounts.booking.writing import Writes
from accounts.models import Budget, Entry, Reservation
from accounts.money import Counts, Prices

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
ACCOUNT, KEY, HOUSE = 7, 70, 1
TOKENS, NANO_USD = Budget.Unit.TOKENS.value, Budget.Unit.NANO_USD.value

#: 3 and 5 nano-USD per token.
PRICES = Prices(input=3 * 10**6, output=5 * 10**6)


def budget(cap: int | None, *, of_key: bool = False, **fields: Any) -> BudgetState:
    """A budget of ACCOUNT, or of KEY; a balance in tokens with nothing used, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "id": 2 if of_key else 1,
        "account_id": None if of_key else ACCOUNT,
        "key_id": KEY if of_key else None,
        "unit": TOKENS,
        "cap": cap,
        "cap_wanted": None,
        "window": Budget.Window.BALANCE.value,
        "window_seconds": None,
        "time_zone": "UTC",
        "window_number": 1,
        "window_ends_at": None,
        "spent": 0,
        "reserved": 0,
    }
    return BudgetState(**{**values, **fields})


def rolling(cap: int | None, seconds: int = 3600, **fields: Any) -> BudgetState:
    return budget(cap, window=Budget.Window.ROLLING.value, window_seconds=seconds, **fields)


def reserve(
    prompt: int, bound: int, *, sequences: int = 1, stated: bool = True, prices: Prices | None = PRICES, key: int = KEY
) -> Reserve:
    return Reserve(
        id=uuid4(),
        account_id=ACCOUNT,
        key_id=key,
        gateway="gateway",
        model="tiny",
        node="local",
        need=Need(prompt_tokens=prompt, completion_tokens=bound, sequences=sequences, stated=stated),
        prices=prices,
    )


@dataclass
class Books:
    """Budgets, reservations and entries as the database would hold them between batches."""

    budgets: list[BudgetState]
    now: datetime = NOW
    valid_keys: frozenset[int] = frozenset({KEY})
    reservations: dict[UUID, ReservationState] = field(default_factory=dict)
    entries: list[EntryState] = field(default_factory=list)
    writes: Writes = field(default_factory=lambda: Writes(NOW))
    ids: Any = field(default_factory=lambda: count(1))

    def decide(self, *operations: Operation, again: bool = False) -> list[Answer]:
        """Decide one batch, and keep what it writes. `writes` is what the last one wrote."""
        for row in self.budgets:
            row.passed.clear()
        named = {op.id for op in operations if isinstance(op, Extend) or (again and isinstance(op, Reserve))}
        closed = dict(self._closed(operations))
        self.reservations.update({row.id: row for row in closed.values()})
        read = Read(
            now=self.now,
            house_id=HOUSE,
            budgets={row.id: row for row in self.budgets},
            valid_keys=self.valid_keys,
            closed=closed,
            reservations={id_: row for id_, row in self.reservations.items() if id_ in named},
            entries=self._named_entries(operations),
            entry_ids=self.ids,
        )
        answers, self.writes = decide(operations, read)
        self._keep(read)
        return answers

    def one(self, operation: Operation, *, again: bool = False) -> Answer:
        (answer,) = self.decide(operation, again=again)
        return answer

    def reserve(self, prompt: int, bound: int, **how: Any) -> tuple[UUID, Answer]:
        operation = reserve(prompt, bound, **how)
        return operation.id, self.one(operation)

    def settle(self, id_: UUID, prompt: int, completion: int, *, estimated: bool = False) -> Answer:
        return self.one(Settle(id=id_, counts=Counts(prompt, completion), budget_ids=(), estimated=estimated))

    def correct(self, id_: UUID, prompt: int, completion: int) -> Answer:
        return self.one(Correct(id=id_, counts=Counts(prompt, completion), budget_ids=()))

    def pass_time(self, step: timedelta) -> None:
        self.now += step

    def _closed(self, operations: Iterable[Operation]) -> Iterable[tuple[tuple[UUID, Step], ReservationState]]:
        for op in operations:
            if isinstance(op, Settle | Release | Correct):
                row = self.reservations.get(op.id)
                step = step_of(op)
                if row is not None and row.state == step[0]:
                    yield (op.id, step), replace(row, state=step[1])

    def _named_entries(self, operations: Iterable[Operation]) -> dict[int, EntryState]:
        refunded = {op.entry_id for op in operations if isinstance(op, Refund)}
        corrected = {op.id for op in operations if isinstance(op, Correct)}
        return {e.id: e for e in self.entries if e.id in refunded or e.reservation_id in corrected}

    def _keep(self, read: Read) -> None:
        self.reservations.update({id_: read.reservations[id_] for id_ in self.writes.regranted})
        for r in self.writes.reservations:
            self.reservations[r.id] = ReservationState(
                id=r.id,
                state=Reservation.State.OPEN.value,
                account_id=r.account_id,
                key_id=r.key_id,
                model=r.model,
                node=r.node,
                granted=r.granted,
                completion_bound=r.completion_bound,
                budget_ids=r.budget_ids,
                held=r.held,
                prices=r.prices,
            )
        for e in self.writes.entries:
            if e.kind == Entry.Kind.USAGE:
                self.entries.append(
                    EntryState(
                        id=e.id,
                        debit_id=e.debit_id,
                        credit_id=e.credit_id,
                        key_id=e.key_id,
                        reservation_id=e.reservation_id,
                        model=e.model,
                        node=e.node,
                        counts=e.counts,
                        tokens_left=e.tokens,
                        nano_usd_left=e.nano_usd,
                        lines=list(e.lines),
                    )
                )
