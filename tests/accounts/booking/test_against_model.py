"""Random stories told to the real books and to a model in plain Python; both must end the same.

Steps run alone, several in one batch, or at the same time through two booking loops, as two gateways would. Of what ran
together any order is right, as long as one order explains all answers and every row.

HELEXA_EXAMPLES sets how many stories are told (`make proof-books`: 2,000). HELEXA_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import secrets
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from accounts.booking.loop import BookingLoop
from accounts.booking.operations import (
    Answer,
    Author,
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
from accounts.booking.transaction import book
from accounts.money import Counts, Prices
from tests.accounts.booking.ledger_model import Box, Ledger, Outcome
from tests.accounts.booking.tables import Tables

EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "25"))
#: Who asks for a number of stories hears new ones.
SEED = int(os.environ.get("HELEXA_SEED", "0" if "HELEXA_EXAMPLES" in os.environ else "1")) or secrets.randbelow(2**32)

ME = Author("a test")
YEAR_S = 366 * 86_400
#: Small enough that grants collide with caps, and with fractions of a nano-dollar.
PRICES = [
    None,
    Prices(input=10**6, output=10**6),
    Prices(input=10**6, output=2 * 10**6, cached=3 * 10**6, reasoning=10**6),
    Prices(input=333_333, output=1_500_001, cached=1),
    Prices(input=0, output=0),
]


class NewBudget(NamedTuple):
    owner: int  # 0 for the account, else the number of a key
    unit: str
    cap: int | None
    window: str


class Wish(NamedTuple):
    """A step in the abstract: `pick` chooses what it is about from what there is."""

    kind: str
    pick: int
    prompt: int
    completion: int
    sequences: int
    flag: bool


CAPS = st.one_of(st.none(), st.integers(1, 150))
BUDGETS = st.lists(
    st.builds(
        NewBudget,
        owner=st.integers(0, 2),
        unit=st.sampled_from(["tokens", "nano_usd"]),
        cap=CAPS,
        window=st.sampled_from(["balance", "rolling", "day", "week", "month"]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda b: (b.owner, b.unit),
)
KINDS = ["reserve"] * 4 + ["settle"] * 3 + ["release", "extend", "correct", "correct", "refund", "credit", "cap", "cap"]
WISHES = st.builds(
    Wish,
    kind=st.sampled_from(KINDS),
    pick=st.integers(0, 60),
    prompt=st.integers(1, 30),
    completion=st.integers(0, 40),
    sequences=st.integers(1, 3),
    flag=st.booleans(),
)
CLOSING = st.sampled_from(["settle", "settle", "release", "extend"])


def daytime_zone() -> str:
    """A time zone in which it is about noon now: no day may end by itself while a story is told."""
    hours = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"  # these names count westward


class Story(RuleBasedStateMachine):
    database_url = ""
    runner: asyncio.Runner
    gateways: tuple[BookingLoop, BookingLoop]

    @initialize(budgets=BUDGETS)
    def open_books(self, budgets: list[NewBudget]) -> None:
        self.zone = daytime_zone()
        self.tables = Tables(self.database_url)
        self.account = self.tables.new_account()
        self.keys = [self.tables.new_key(self.account) for _ in range(2)]
        self.order: list[UUID] = []
        boxes = {}
        for new in budgets:
            box = Box(
                account=None if new.owner else self.account,
                key=self.keys[new.owner - 1] if new.owner else None,
                unit=new.unit,
                cap=new.cap,
                window=new.window,
                seconds=YEAR_S if new.window == "rolling" else None,
            )
            budget_id = self.tables.new_budget(
                box.cap,
                account=box.account,
                key=box.key,
                unit=box.unit,
                window=box.window,
                seconds=box.seconds,
                zone=self.zone,
            )
            boxes[budget_id] = box
        self.model = Ledger(boxes, valid_keys=set(self.keys), zone=self.zone)

    def teardown(self) -> None:
        if hasattr(self, "tables"):
            self.tables.close()

    # -- steps -----------------------------------------------------------------------------------

    @rule(wish=WISHES)
    def alone(self, wish: Wish) -> None:
        self._batch([wish])

    @rule(wishes=st.lists(WISHES, min_size=2, max_size=5))
    def in_one_batch(self, wishes: list[Wish]) -> None:
        self._batch(wishes)

    def _batch(self, wishes: list[Wish]) -> None:
        operations = [op for wish in wishes if (op := self._operation(wish)) is not None]
        operations = without_settled_and_corrected(operations)
        self._explain(operations, book(operations))

    @rule(wishes=st.lists(WISHES, min_size=2, max_size=4), first=st.integers(0, 15))
    def at_the_same_time(self, wishes: list[Wish], first: int) -> None:
        """Each step goes to one of two gateways; which ones go to the second are the bits of `first`."""
        self._at_once([op for wish in wishes if (op := self._operation(wish)) is not None], first)

    @rule(kinds=st.lists(CLOSING, min_size=2, max_size=3), pick=st.integers(0, 30), wish=WISHES)
    def one_reservation_at_the_same_time(self, kinds: list[str], pick: int, wish: Wish) -> None:
        """Everybody wants to close the same one."""
        wishes = [wish._replace(kind=kind, pick=pick) for kind in kinds]
        self._at_once([op for wish in wishes if (op := self._operation(wish)) is not None], 0b1010)

    def _at_once(self, operations: list[Operation], second: int) -> None:
        operations = without_settled_and_corrected(operations)
        self._explain(operations, self.runner.run(self._send(operations, second)))

    def _explain(self, operations: list[Operation], answers: list[Answer]) -> None:
        """Find an order in which the model gives all these answers and ends with these rows; go on from there."""
        outcomes, rows = [outcome(answer) for answer in answers], self._rows()
        for order in itertools.permutations(closing_first(operations)):
            model = copy.deepcopy(self.model)
            told = {i: model.one(operations[i]) for i in order}
            if [told[i] for i in range(len(operations))] == outcomes and model_rows(model) == rows:
                self.model = model
                break
        else:
            raise AssertionError(f"no order explains {list(zip(operations, answers, strict=True))} and {rows}")
        self._learn(operations, answers)

    async def _send(self, operations: list[Operation], second: int) -> list[Answer]:
        def send(op: Operation, gateway: BookingLoop) -> Any:
            return gateway.reserve(op) if isinstance(op, Reserve | Extend) else gateway.close(op)

        sent = [send(op, self.gateways[second >> i & 1]) for i, op in enumerate(operations)]
        return await asyncio.gather(*sent)

    @rule(pick=st.integers(0, 30))
    def turn_over(self, pick: int) -> None:
        """A window ends; nobody does anything about it until the budget is touched."""
        budget_id = sorted(self.model.boxes)[pick % len(self.model.boxes)]
        moved = self.tables.connection.execute(
            "UPDATE accounts_budget SET window_ends_at = clock_timestamp() "
            "WHERE id = %s AND window_ends_at > clock_timestamp()",
            (budget_id,),
        )
        if moved.rowcount:
            self.model.boxes[budget_id].turn_over()

    @rule(number=st.integers(0, 1), valid=st.booleans())
    def revoke_or_restore(self, number: int, valid: bool) -> None:
        self.tables.connection.execute(
            "UPDATE accounts_apikey SET revoked_at = CASE WHEN %s THEN NULL ELSE now() END WHERE id = %s",
            (valid, self.keys[number]),
        )
        change = self.model.valid_keys.add if valid else self.model.valid_keys.discard
        change(self.keys[number])

    def _operation(self, wish: Wish) -> Operation | None:  # one line per kind
        counts = Counts(wish.prompt, wish.completion, wish.prompt // 3, wish.completion // 4)
        if wish.kind in ("credit", "cap"):
            return self._operators(wish)
        if wish.kind == "reserve":
            return self._reserve(wish)
        if wish.kind == "refund":
            return self._refund(wish)
        id_ = self._reservation(wish)
        if id_ is None:
            return None
        budget_ids = tuple(self.model.held[id_].boxes)
        if wish.kind == "settle":
            return Settle(id=id_, counts=counts, budget_ids=budget_ids, estimated=wish.flag)
        if wish.kind == "release":
            return Release(id=id_, budget_ids=budget_ids)
        if wish.kind == "correct":
            return Correct(id=id_, counts=counts, budget_ids=budget_ids)
        return Extend(id=id_, need=need_of(wish), budget_ids=budget_ids)

    def _reservation(self, wish: Wish) -> UUID | None:
        """One that the wish may be granted for, mostly; one that is closed already, now and then."""
        state = "estimated" if wish.kind == "correct" else "open"
        fitting = [id_ for id_ in self.order if self.model.held[id_].state == state]
        among = fitting if fitting and wish.pick % 4 else self.order
        return among[wish.pick // 4 % len(among)] if among else None

    def _reserve(self, wish: Wish) -> Reserve:
        return Reserve(
            id=uuid4(),
            account_id=self.account,
            key_id=self.keys[wish.pick % 2],
            gateway="gateway",
            model=f"model {wish.pick % 3}",
            node="local",
            need=need_of(wish),
            prices=PRICES[wish.pick % len(PRICES)],
        )

    def _refund(self, wish: Wish) -> Refund | None:
        if not self.model.usage:
            return None
        entry_id = sorted(self.model.usage)[wish.pick % len(self.model.usage)]
        whole = wish.flag
        return Refund(
            entry_id=entry_id,
            budget_ids=tuple(self.model.held[self.model.usage[entry_id]].boxes),
            tokens=None if whole else wish.prompt,
            nano_usd=None if whole else wish.completion,
            reason="slow",
            author=ME,
        )

    def _operators(self, wish: Wish) -> Operation:
        budget_id = sorted(self.model.boxes)[wish.pick % len(self.model.boxes)]
        if wish.kind == "credit":
            return Credit(budget_id, self.account, wish.prompt, reason="", author=ME)
        seen = self.model.limits(budget_id)
        cap = wish.prompt + 3 * wish.completion if wish.sequences > 1 else None
        limits = replace(seen, cap=cap)
        if wish.pick % 5 == 0:
            limits = Limits(cap, "rolling", YEAR_S, self.zone) if wish.flag else Limits(cap, "balance", None, self.zone)
        return ChangeLimits(budget_id, limits, seen)

    def _learn(self, operations: list[Operation], answers: list[Answer]) -> None:
        """What the model cannot know: the ids of entries."""
        for op, answer in zip(operations, answers, strict=True):
            if isinstance(op, Reserve) and isinstance(answer, Granted):
                self.order.append(op.id)
            if isinstance(op, Settle) and isinstance(answer, Closed) and answer.entry_id is not None:
                self.model.usage[answer.entry_id] = op.id

    # -- what is always true -----------------------------------------------------------------------

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        if hasattr(self, "model"):
            assert self._rows() == model_rows(self.model)

    @invariant()
    def books_add_up(self) -> None:
        """The contract (DESIGN 1), asked of the tables alone."""
        if hasattr(self, "model"):
            budgets = self.tables.all(
                """SELECT b.id, b.cap IS NULL OR b.spent + b.reserved <= b.cap,
                  b.spent = (SELECT coalesce(sum(amount), 0) FROM accounts_line l
                             WHERE l.budget_id = b.id AND l.window_number = b.window_number),
                  b.reserved = (SELECT coalesce(sum(held[array_position(budget_ids, b.id)]), 0)
                                FROM accounts_reservation r WHERE r.account_id = %s AND r.state = 'open')
                FROM accounts_budget b WHERE b.id = ANY(%s)""",
                self.account,
                list(self.model.boxes),
            )
            assert all(within and spent and reserved for _, within, spent, reserved in budgets), budgets

    def _rows(self) -> dict[str, Any]:
        ids = list(self.model.boxes)
        budgets = self.tables.all(
            """SELECT id, cap, cap_wanted, spent, reserved, window_number, "window", window_ends_at IS NOT NULL,
              window_ends_at <= clock_timestamp() FROM accounts_budget WHERE id = ANY(%s)""",
            ids,
        )
        reservations = self.tables.all(
            "SELECT id, state, granted, completion_bound, budget_ids, held FROM accounts_reservation "
            "WHERE account_id = %s",
            self.account,
        )
        lines = self.tables.all(
            "SELECT budget_id, window_number, sum(amount)::bigint FROM accounts_line WHERE budget_id = ANY(%s) "
            "GROUP BY 1, 2",
            ids,
        )
        spend = self.tables.all(
            "SELECT key_id, sum(tokens)::bigint, sum(nano_usd)::bigint FROM accounts_hourlyspend "
            "WHERE account_id = %s GROUP BY 1",
            self.account,
        )
        entries = self.tables.all(
            "SELECT key_id, sum(tokens)::bigint, sum(nano_usd)::bigint FROM accounts_entry "
            "WHERE debit_id = %s AND kind <> 'credit' GROUP BY 1",
            self.account,
        )
        (overrun,) = self.tables.all(
            "SELECT coalesce(sum(tokens), 0)::bigint FROM accounts_entry WHERE kind = 'overrun' "
            "AND reservation_id IN (SELECT id FROM accounts_reservation WHERE account_id = %s)",
            self.account,
        )
        return {
            "budgets": dict(rolled(row) for row in budgets),
            "reservations": {row[0]: row[1:] for row in reservations},
            "lines": {(budget, window): amount for budget, window, amount in lines if amount},
            "spend": {row[0]: row[1:] for row in spend if any(row[1:])},
            "entries": {row[0]: row[1:] for row in entries if any(row[1:])},
            "overrun": overrun[0],
        }


def closing_first(operations: list[Operation]) -> list[int]:
    """The order of a batch, which is likely the right one: first what makes room."""
    return sorted(range(len(operations)), key=lambda i: not isinstance(operations[i], Settle | Release))


def need_of(wish: Wish) -> Need:
    return Need(wish.prompt, wish.completion * wish.sequences, wish.sequences, stated=wish.flag)


def rolled(row: tuple[Any, ...]) -> tuple[int, tuple[Any, ...]]:
    """A budget as it reads: if its window is over, as if it had turned over."""
    id_, cap, wanted, spent, reserved, number, window, has_end, is_over = row
    if is_over:
        spent, number, has_end = 0, number + 1, False
        if wanted is not None:
            cap = max(wanted, reserved)
            wanted = None if cap == wanted else wanted
    return id_, (cap, wanted, spent, reserved, number, window == "rolling" and has_end)


def model_rows(model: Ledger) -> dict[str, Any]:
    spend: dict[int, tuple[int, int]] = {
        key: (model.spend[key, "tokens"], model.spend[key, "nano_usd"]) for key, _ in model.spend
    }
    spend = {key: sums for key, sums in spend.items() if any(sums)}
    return {
        "budgets": {
            id_: (box.cap, box.wanted, box.spent, box.reserved, box.number, box.is_open)
            for id_, box in model.boxes.items()
        },
        "reservations": {id_: (h.state, h.granted, h.bound, h.boxes, h.held) for id_, h in model.held.items()},
        "lines": {at: amount for at, amount in model.lines.items() if amount},
        "spend": spend,
        "entries": spend,
        "overrun": model.overrun,
    }


def outcome(answer: Answer) -> Outcome:
    """The answer as the model gives it."""
    match answer:
        case Granted():
            return ("granted", answer.granted, answer.completion_tokens)
        case OverCap():
            seconds = answer.retry_after_s
            return ("over cap", "never" if seconds is None else "soon" if seconds == 2 else "later")
        case Closed():
            return ("closed", answer.overrun_tokens)
        case NoPrice():
            return ("no price",)
        case KeyNotValid():
            return ("key not valid",)
        case NotOpen():
            return ("not open",)
        case Done():
            return ("done",)
        case Declined():
            return ("declined",)


def without_settled_and_corrected(operations: list[Operation]) -> list[Operation]:
    """A correction is sent once the estimate is on the books, never in the batch that puts it there."""
    named = Counter(op.id for op in operations if isinstance(op, Settle | Correct))
    return [op for op in operations if not (isinstance(op, Correct) and named[op.id] > 1)]


def test_the_books_do_what_the_model_does(fresh_database: str, django_db_blocker: Any) -> None:
    print(f"HELEXA_SEED={SEED} HELEXA_EXAMPLES={EXAMPLES}")
    with django_db_blocker.unblock(), asyncio.Runner() as runner:
        gateways = (BookingLoop(fresh_database), BookingLoop(fresh_database))
        runner.get_loop().run_until_complete(begin(gateways))

        class OnDatabase(Story):
            pass

        OnDatabase.database_url, OnDatabase.runner, OnDatabase.gateways = fresh_database, runner, gateways
        try:
            run_state_machine_as_test(
                seed(SEED)(OnDatabase),
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=30,
                    deadline=None,
                    database=None,
                    derandomize=False,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(end(gateways))


async def begin(gateways: tuple[BookingLoop, BookingLoop]) -> None:
    for gateway in gateways:
        gateway.start()


async def end(gateways: tuple[BookingLoop, BookingLoop]) -> None:
    for gateway in gateways:
        await gateway.stop()
