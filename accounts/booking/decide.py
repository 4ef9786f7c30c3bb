"""A batch decided: a plain function from what was read under locks to answers and writes. No database, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from accounts.booking import grants
from accounts.booking.billing import cut_to_room, difference
from accounts.booking.grants import FREE, Grant
from accounts.booking.operations import (
    Answer,
    ChangeLimits,
    Closed,
    Correct,
    Credit,
    Declined,
    Done,
    Extend,
    Granted,
    KeyNotValid,
    Limits,
    Need,
    NoPrice,
    NotOpen,
    Operation,
    OverCap,
    Refund,
    Release,
    Reserve,
    Settle,
)
from accounts.booking.state import BudgetState, EntryState, ReservationState
from accounts.booking.windows import Window, opening_end
from accounts.booking.writing import NewEntry, NewReservation, Writes
from accounts.models import Budget, Entry, Reservation
from accounts.money import Counts, Prices
from helexa.usd import MAX_AMOUNT

State = Reservation.State


#: From which state of a reservation to which.
Step = tuple[str, str]


def step_of(operation: Settle | Release | Correct) -> Step:
    match operation:
        case Correct():
            return State.ESTIMATED.value, State.SETTLED.value
        case Release():
            return State.OPEN.value, State.RELEASED.value
        case Settle():
            return State.OPEN.value, (State.ESTIMATED if operation.estimated else State.SETTLED).value


@dataclass(slots=True)
class Read:
    """What a batch read, all of it after its budgets were locked."""

    now: datetime
    house_id: int
    budgets: dict[int, BudgetState]
    valid_keys: frozenset[int]
    #: Reservations that this batch closed or is to correct, by id and by the step that they took.
    closed: dict[tuple[UUID, Step], ReservationState]
    #: Reservations to be extended, and when a batch is sent again those that it may have made before.
    reservations: dict[UUID, ReservationState]
    #: Entries of usage that are to be refunded or corrected.
    entries: dict[int, EntryState]
    entry_ids: Iterator[int]


def decide(operations: Sequence[Operation], read: Read) -> tuple[list[Answer], Writes]:
    """Answers in the order of the operations. What closes reservations goes first: it makes room for the others."""
    for budget in read.budgets.values():
        budget.roll(read.now)
    batch = _Batch(read)
    answers: dict[int, Answer] = {}
    for index in sorted(range(len(operations)), key=lambda i: not isinstance(operations[i], Settle | Release)):
        answers[index] = batch.answer(operations[index])
    return [answers[index] for index in range(len(operations))], batch.writes


class _Batch:
    def __init__(self, read: Read) -> None:
        self.read = read
        self.writes = Writes(read.now)
        self._by_account: dict[int, list[BudgetState]] = {}
        self._by_key: dict[int, list[BudgetState]] = {}
        for budget in read.budgets.values():
            if budget.account_id is not None:
                self._by_account.setdefault(budget.account_id, []).append(budget)
            elif budget.key_id is not None:
                self._by_key.setdefault(budget.key_id, []).append(budget)

    def answer(self, operation: Operation) -> Answer:  # noqa: PLR0911  # one line per kind
        match operation:
            case Settle():
                return self._settle(operation)
            case Release():
                return self._release(operation)
            case Reserve():
                return self._reserve(operation)
            case Extend():
                return self._extend(operation)
            case Correct():
                return self._correct(operation)
            case Refund():
                return self._refund(operation)
            case Credit():
                return self._credit(operation)
            case ChangeLimits():
                return self._change_limits(operation)

    # -- reservations ----------------------------------------------------------------------------

    def _reserve(self, op: Reserve) -> Answer:
        before = self.read.reservations.get(op.id)
        if before is not None:  # sent again after a commit whose answer was lost
            return self._repeated(before)
        if op.key_id not in self.read.valid_keys:
            return KeyNotValid()
        budgets = [*self._by_account.get(op.account_id, ()), *self._by_key.get(op.key_id, ())]
        found = self._find(budgets, op.need, op.prices, op.model, exact=False)
        if not isinstance(found, Grant):
            return found
        held = self._hold(budgets, found, op.prices)
        budget_ids = [budget.id for budget in budgets]
        self.writes.reservations.append(
            NewReservation(
                op.id,
                op.account_id,
                op.key_id,
                op.gateway,
                op.model,
                op.node,
                found.tokens,
                found.completion_tokens,
                budget_ids,
                held,
                op.prices,
            )
        )
        return Granted(found.tokens, found.completion_tokens, tuple(budget_ids), grants.tokens_left(budgets))

    def _repeated(self, before: ReservationState) -> Answer:
        if before.state != State.OPEN:
            return NotOpen()
        budgets = [self.read.budgets[id_] for id_ in before.budget_ids if id_ in self.read.budgets]
        return Granted(before.granted, before.completion_bound, tuple(before.budget_ids), grants.tokens_left(budgets))

    def _extend(self, op: Extend) -> Answer:
        reservation = self.read.reservations.get(op.id)
        if reservation is None or reservation.state != State.OPEN:
            return NotOpen()
        budgets = [self.read.budgets[budget_id] for budget_id in reservation.budget_ids]
        for budget, held in zip(budgets, reservation.held, strict=True):
            budget.reserved -= held  # not `let_go`: a cap must not sink below what is about to be held again
        found = self._find(budgets, op.need, reservation.prices, reservation.model, exact=True)
        if not isinstance(found, Grant):
            for budget, held in zip(budgets, reservation.held, strict=True):
                budget.reserved += held
            return found
        held_now = self._hold(budgets, found, reservation.prices)
        for budget in budgets:
            budget.sink()
        self.read.reservations[op.id] = replace(
            reservation, granted=found.tokens, completion_bound=found.completion_tokens, held=held_now
        )
        self.writes.regranted.add(op.id)
        budget_ids = tuple(reservation.budget_ids)
        return Granted(found.tokens, found.completion_tokens, budget_ids, grants.tokens_left(budgets))

    def _find(
        self, budgets: Sequence[BudgetState], need: Need, prices: Prices | None, model: str, *, exact: bool
    ) -> Grant | OverCap | NoPrice:
        if prices is None and any(b.unit == Budget.Unit.NANO_USD and b.limit is not None for b in budgets):
            return NoPrice(model)
        found = grants.find_grant(budgets, need, prices or FREE, exact=exact)
        return found or grants.over_cap(budgets, need, prices or FREE, self.read.now, exact=exact)

    def _hold(self, budgets: Sequence[BudgetState], grant: Grant, prices: Prices | None) -> list[int]:
        amounts = [grants.amount_of(budget, grant, prices or FREE) for budget in budgets]
        for budget, amount in zip(budgets, amounts, strict=True):
            budget.hold(amount)
            budget.use(self.read.now)
        return amounts

    def _release(self, op: Release) -> Answer:
        reservation = self.read.closed.pop((op.id, step_of(op)), None)
        if reservation is None:
            return NotOpen()
        self._let_go(reservation)
        return Closed()

    def _let_go(self, reservation: ReservationState) -> None:
        for budget_id, held in zip(reservation.budget_ids, reservation.held, strict=True):
            self.read.budgets[budget_id].let_go(held)

    def _settle(self, op: Settle) -> Answer:
        reservation = self.read.closed.pop((op.id, step_of(op)), None)
        if reservation is None:
            return NotOpen()
        for budget_id, held in zip(reservation.budget_ids, reservation.held, strict=True):
            self.read.budgets[budget_id].reserved -= held  # not `let_go`: what was granted is paid, then a cap sinks
        entry, overrun = self._bill(reservation, op.counts, node=op.node, estimated=op.estimated)
        return Closed(entry, overrun)

    def _correct(self, op: Correct) -> Answer:
        reservation = self.read.closed.pop((op.id, step_of(op)), None)
        if reservation is None:
            return NotOpen()
        usage = next(entry for entry in self.read.entries.values() if entry.reservation_id == op.id)
        entry, overrun = self._bill(reservation, op.counts, usage)
        return Closed(entry, overrun)

    def _bill(
        self,
        reservation: ReservationState,
        actual: Counts,
        usage: EntryState | None = None,
        *,
        node: str = "",
        estimated: bool = False,
    ) -> tuple[int | None, int]:
        """Write the entry that bills `actual`, or takes `usage` there; its id, and the tokens without room.

        More than was granted cannot come from our engine. If it does, budgets still never pass their caps: what they
        have no room for is an overrun on the account of the house (DESIGN 4).
        """
        budgets = [self.read.budgets[budget_id] for budget_id in reservation.budget_ids]
        prices = reservation.prices or FREE
        billed = Counts() if usage is None else usage.counts
        payable = cut_to_room(budgets, prices, billed, actual)
        overrun = difference(payable, actual)
        tokens, nano_usd = payable.tokens - billed.tokens, prices.cost(payable) - prices.cost(billed)
        if usage is not None:
            tokens, nano_usd = usage.change(tokens, nano_usd)
        lines = tuple(self._move(budget, budget.amount(tokens, nano_usd), usage) for budget in budgets)
        entry = NewEntry(
            id=next(self.read.entry_ids),
            kind=Entry.Kind.USAGE if usage is None else Entry.Kind.CORRECTION,
            debit_id=reservation.account_id,
            credit_id=self.read.house_id,
            key_id=reservation.key_id,
            reservation_id=reservation.id,
            tokens=tokens,
            nano_usd=nano_usd,
            counts=difference(billed, payable),
            prices=reservation.prices,
            model=reservation.model,
            node=node or reservation.node,
            estimated=estimated,
            lines=lines,
        )
        if usage is None or tokens or nano_usd:
            self.writes.entries.append(entry)
        if overrun.tokens > 0:
            self.writes.entries.append(
                replace(
                    entry,
                    id=next(self.read.entry_ids),
                    kind=Entry.Kind.OVERRUN,
                    debit_id=self.read.house_id,
                    key_id=None,
                    tokens=overrun.tokens,
                    nano_usd=prices.cost(actual) - prices.cost(payable),
                    counts=overrun,
                    lines=(),
                )
            )
        return entry.id, overrun.tokens

    def _move(self, budget: BudgetState, amount: int, usage: EntryState | None) -> tuple[int, int, int]:
        """Count an amount, and the line that says so. What is given back goes to the window it was spent in."""
        if usage is not None and amount <= 0:
            window_number = next(number for budget_id, number, _ in usage.lines if budget_id == budget.id)
            if budget.window_number == window_number:  # else on the books only: that window's counter is gone
                budget.spend(amount)
            return budget.id, window_number, amount
        budget.spend(amount)
        budget.use(self.read.now)
        return budget.id, budget.window_number, amount

    # -- what operators ask for ------------------------------------------------------------------

    def _refund(self, op: Refund) -> Answer:
        entry = self.read.entries.get(op.entry_id)
        if entry is None:
            return Declined("There is no such entry of usage.", "entry")
        tokens = entry.tokens_left if op.tokens is None else op.tokens
        nano_usd = entry.nano_usd_left if op.nano_usd is None else op.nano_usd
        for name, amount, left in (("tokens", tokens, entry.tokens_left), ("usd", nano_usd, entry.nano_usd_left)):
            if not 0 <= amount <= left:
                return Declined(f"The most that can be refunded is what is left of the entry: {left}.", name)
        if not tokens and not nano_usd:
            return Declined("Nothing is left of this entry to refund.", "entry")
        entry.change(-tokens, -nano_usd)
        budgets = [self.read.budgets[budget_id] for budget_id, _, _ in entry.lines]
        lines = tuple(self._move(budget, -budget.amount(tokens, nano_usd), entry) for budget in budgets)
        refund = NewEntry(
            id=next(self.read.entry_ids),
            kind=Entry.Kind.REFUND,
            debit_id=entry.debit_id,
            credit_id=entry.credit_id,
            key_id=entry.key_id,
            reservation_id=entry.reservation_id,
            tokens=-tokens,
            nano_usd=-nano_usd,
            model=entry.model,
            node=entry.node,
            refunds_id=entry.id,
            reason=op.reason,
            author_id=op.author.user_id,
            author_name=op.author.name,
            lines=lines,
        )
        self.writes.entries.append(refund)
        return Done(refund.id)

    def _credit(self, op: Credit) -> Answer:
        budget = self.read.budgets.get(op.budget_id)
        if budget is None or budget.cap is None or budget.window != Window.BALANCE:
            return Declined("There is no balance cap to top up; set one first.", "budget")
        wanted = budget.cap_wanted
        if budget.cap + op.amount > MAX_AMOUNT:
            return Declined(f"The cap would be over {MAX_AMOUNT}, the most there is.", "amount")
        budget.cap += op.amount
        budget.cap_wanted = None if wanted is None else wanted + op.amount
        budget.sink()
        is_tokens = budget.unit == Budget.Unit.TOKENS
        entry = NewEntry(
            id=next(self.read.entry_ids),
            kind=Entry.Kind.CREDIT,
            debit_id=self.read.house_id,
            credit_id=op.account_id,
            key_id=budget.key_id,
            tokens=op.amount if is_tokens else 0,
            nano_usd=0 if is_tokens else op.amount,
            budget_id=budget.id,
            reason=op.reason,
            author_id=op.author.user_id,
            author_name=op.author.name,
        )
        self.writes.entries.append(entry)
        return Done(entry.id)

    def _change_limits(self, op: ChangeLimits) -> Answer:
        budget = self.read.budgets.get(op.budget_id)
        if budget is None:
            return Declined("There is no such budget.", "budget")
        if op.seen is not None and limits_of(budget) != op.seen:
            return Declined("Somebody else changed this budget meanwhile: look at what it is now, then decide.", "cap")
        limits = op.limits
        if (limits.window, limits.window_seconds, limits.time_zone) != (
            budget.window,
            budget.window_seconds,
            budget.time_zone,
        ):
            budget.window, budget.window_seconds = limits.window, limits.window_seconds
            budget.time_zone = limits.time_zone
            budget.window_ends_at = opening_end(limits.window, limits.window_seconds, limits.time_zone, self.read.now)
        budget.set_cap(limits.cap)
        return Done()


def limits_of(budget: BudgetState) -> Limits:
    return Limits(budget.limit, budget.window, budget.window_seconds, budget.time_zone)
