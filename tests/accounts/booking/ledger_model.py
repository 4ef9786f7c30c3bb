"""The books in plain Python, written from DESIGN 4 and not from the code: slow, obvious, one thing at a time.

Everything is small here, so the largest grant that fits is found by trying all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from accounts.booking.operations import (
    ChangeLimits,
    Correct,
    Credit,
    Extend,
    Limits,
    Need,
    Operation,
    Refund,
    Release,
    Reserve,
    Settle,
)
from accounts.money import Counts, Prices

#: What an answer comes to, so that the model need not know of amounts, dates and ids.
Outcome = tuple[Any, ...]


@dataclass
class Box:
    """A budget. `is_open` is for rolling windows: whether one has begun."""

    account: int | None
    key: int | None
    unit: str
    cap: int | None
    window: str
    wanted: int | None = None
    seconds: int | None = None
    number: int = 1
    is_open: bool = False
    spent: int = 0
    reserved: int = 0

    @property
    def limit(self) -> int | None:
        return self.cap if self.wanted is None else self.wanted

    def turn_over(self) -> None:
        self.spent, self.number, self.is_open = 0, self.number + 1, False
        self.sink()

    def use(self) -> None:
        self.is_open = self.window == "rolling"

    def sink(self) -> None:
        if self.wanted is not None:
            assert self.cap is not None
            self.cap = max(self.wanted, self.spent + self.reserved)
            self.wanted = None if self.wanted == self.cap else self.wanted


@dataclass
class Held:
    """A reservation: what is held where, and once it is billed its entry and what of it can still be given back."""

    key: int
    boxes: list[int]
    prices: Prices | None
    state: str
    granted: int
    bound: int
    held: list[int]
    billed: bool = False
    counts: Counts = field(default_factory=Counts)
    windows: list[int] = field(default_factory=list)
    tokens_left: int = 0
    nano_usd_left: int = 0


@dataclass
class Ledger:
    boxes: dict[int, Box]
    valid_keys: set[int]
    zone: str
    held: dict[UUID, Held] = field(default_factory=dict)
    #: Entry ids of usage, told by the machine, since the database draws them.
    usage: dict[int, UUID] = field(default_factory=dict)
    #: What is on the books: by budget and window, by key in the roll-ups, and on the house.
    lines: Counter[tuple[int, int]] = field(default_factory=Counter)
    spend: Counter[tuple[int, str]] = field(default_factory=Counter)
    overrun: int = 0

    def one(self, op: Operation) -> Outcome:
        verbs: dict[type, Callable[[Any], Outcome]] = {
            Reserve: self.reserve,
            Extend: self.extend,
            Settle: self.settle,
            Release: self.release,
            Correct: self.correct,
            Refund: self.refund,
            Credit: self.credit,
            ChangeLimits: self.change_limits,
        }
        return verbs[type(op)](op)

    # -- grants ----------------------------------------------------------------------------------

    def reserve(self, op: Reserve) -> Outcome:
        if op.key_id not in self.valid_keys:
            return ("key not valid",)
        boxes = [id_ for id_, box in sorted(self.boxes.items()) if box.account == op.account_id]
        boxes += [id_ for id_, box in sorted(self.boxes.items()) if box.key == op.key_id]
        found = self._find(boxes, op.need, op.prices, exact=False)
        if found[0] != "granted":
            return found
        _, prompt, bound = found
        held = [self._amount(id_, prompt, bound, op.prices) for id_ in boxes]
        self.held[op.id] = Held(op.key_id, boxes, op.prices, "open", prompt + bound, bound, held)
        self._hold(boxes, held)
        return ("granted", prompt + bound, bound)

    def extend(self, op: Extend) -> Outcome:
        held = self.held.get(op.id)
        if held is None or held.state != "open":
            return ("not open",)
        for id_, amount in zip(held.boxes, held.held, strict=True):
            self.boxes[id_].reserved -= amount
        found = self._find(held.boxes, op.need, held.prices, exact=True)
        if found[0] == "granted":
            _, prompt, held.bound = found
            held.granted = prompt + held.bound
            held.held = [self._amount(id_, prompt, held.bound, held.prices) for id_ in held.boxes]
            found = ("granted", held.granted, held.bound)
            self._hold(held.boxes, held.held)
        else:
            for id_, amount in zip(held.boxes, held.held, strict=True):
                self.boxes[id_].reserved += amount
        for id_ in held.boxes:
            self.boxes[id_].sink()
        return found

    def _hold(self, boxes: list[int], amounts: list[int]) -> None:
        for id_, amount in zip(boxes, amounts, strict=True):
            self.boxes[id_].reserved += amount
            self.boxes[id_].use()

    def _amount(self, id_: int, prompt: int, bound: int, prices: Prices | None) -> int:
        if self.boxes[id_].unit == "tokens":
            return prompt + bound
        if prices is None:
            return 0
        dear_in, dear_out = max(prices.input, prices.cached or 0), max(prices.output, prices.reasoning or 0)
        return (prompt * dear_in + bound * dear_out + 10**6 - 1) // 10**6

    def _find(self, boxes: list[int], need: Need, prices: Prices | None, *, exact: bool) -> Outcome:
        capped = {id_: self.boxes[id_] for id_ in boxes if self.boxes[id_].limit is not None}
        if prices is None and any(box.unit == "nano_usd" for box in capped.values()):
            return ("no price",)

        def fits(prompt: int, bound: int) -> bool:
            return all(
                box.spent + box.reserved + self._amount(id_, prompt, bound, prices) <= (box.limit or 0)
                for id_, box in capped.items()
            )

        if fits(need.prompt_tokens, need.completion_tokens):
            return ("granted", need.prompt_tokens, need.completion_tokens)
        least = need.completion_tokens if need.stated else need.sequences
        if not need.stated:
            for each in range(need.completion_tokens // need.sequences, 0, -1):
                if fits(need.prompt_tokens, each * need.sequences):
                    return ("granted", need.prompt_tokens, each * need.sequences)
        for prompt in range(need.prompt_tokens if not exact else 0, 0, -1):
            if fits(prompt, least):
                return ("granted", prompt, least)
        return ("over cap", self._patience(capped, need.prompt_tokens if exact else 1, least, prices))

    def _patience(self, capped: dict[int, Box], prompt: int, bound: int, prices: Prices | None) -> str:
        """Whether waiting helps: never (a terminal reason wins), until a window ends, or until reservations close."""
        reasons = set()
        for id_, box in capped.items():
            needed, limit = self._amount(id_, prompt, bound, prices), box.limit or 0
            if box.spent + box.reserved + needed <= limit:
                continue
            if box.spent + needed <= limit:
                reasons.add("soon")
            else:
                reasons.add("never" if box.window == "balance" or needed > limit else "later")
        return next(reason for reason in ("never", "later", "soon") if reason in reasons)

    # -- what is billed --------------------------------------------------------------------------

    def release(self, op: Release) -> Outcome:
        held = self.held.get(op.id)
        if held is None or held.state != "open":
            return ("not open",)
        held.state = "released"
        for id_, amount in zip(held.boxes, held.held, strict=True):
            self.boxes[id_].reserved -= amount
            self.boxes[id_].sink()
        return ("closed", 0)

    def settle(self, op: Settle) -> Outcome:
        held = self.held.get(op.id)
        if held is None or held.state != "open":
            return ("not open",)
        held.state = "estimated" if op.estimated else "settled"
        for id_, amount in zip(held.boxes, held.held, strict=True):
            self.boxes[id_].reserved -= amount
        overrun = self._bill(held, op.counts)
        return ("closed", overrun)

    def correct(self, op: Correct) -> Outcome:
        held = self.held.get(op.id)
        if held is None or held.state != "estimated":
            return ("not open",)
        held.state = "settled"
        return ("closed", self._bill(held, op.counts))

    def _bill(self, held: Held, actual: Counts) -> int:
        """Take what is billed to `actual`: up as far as there is room, down as far as is left. Returns the overrun."""
        before, prices = held.counts, held.prices or Prices(0, 0)
        first, held.billed = not held.billed, True
        payable = next(
            part
            for tokens in range(actual.tokens, -1, -1)
            if self._has_room(held, before, part := first_tokens(actual, tokens), prices)
        )
        tokens = max(payable.tokens - before.tokens, -held.tokens_left)
        nano_usd = max(prices.cost(payable) - prices.cost(before), -held.nano_usd_left)
        held.tokens_left += tokens if first else min(tokens, 0)
        held.nano_usd_left += nano_usd if first else min(nano_usd, 0)
        held.counts = payable
        self._note(held.key, tokens, nano_usd)
        windows = [self.boxes[id_].number for id_ in held.boxes]
        held.windows = held.windows or windows
        for id_, window in zip(held.boxes, held.windows, strict=True):
            amount = tokens if self.boxes[id_].unit == "tokens" else nano_usd
            self._line(id_, window if amount < 0 else self.boxes[id_].number, amount)
            if first or amount > 0:  # giving back is no use that opens a window
                self.boxes[id_].use()
        self.overrun += actual.tokens - payable.tokens
        return actual.tokens - payable.tokens

    def _has_room(self, held: Held, before: Counts, after: Counts, prices: Prices) -> bool:
        more = {"tokens": after.tokens - before.tokens, "nano_usd": prices.cost(after) - prices.cost(before)}
        boxes = [self.boxes[id_] for id_ in held.boxes]
        return all(more[b.unit] <= 0 or b.cap is None or b.spent + b.reserved + more[b.unit] <= b.cap for b in boxes)

    def _line(self, id_: int, window: int, amount: int) -> None:
        self.lines[id_, window] += amount
        if self.boxes[id_].number == window:
            self.boxes[id_].spent += amount
            self.boxes[id_].sink()

    def _note(self, key: int, tokens: int, nano_usd: int) -> None:
        self.spend[key, "tokens"] += tokens
        self.spend[key, "nano_usd"] += nano_usd

    # -- operators -------------------------------------------------------------------------------

    def refund(self, op: Refund) -> Outcome:
        held = self.held[self.usage[op.entry_id]]
        tokens = held.tokens_left if op.tokens is None else op.tokens
        nano_usd = held.nano_usd_left if op.nano_usd is None else op.nano_usd
        if tokens > held.tokens_left or nano_usd > held.nano_usd_left or not (tokens or nano_usd):
            return ("declined",)
        held.tokens_left -= tokens
        held.nano_usd_left -= nano_usd
        self._note(held.key, -tokens, -nano_usd)
        for id_, window in zip(held.boxes, held.windows, strict=True):
            self._line(id_, window, -tokens if self.boxes[id_].unit == "tokens" else -nano_usd)
        return ("done",)

    def credit(self, op: Credit) -> Outcome:
        box = self.boxes[op.budget_id]
        if box.cap is None or box.window != "balance":
            return ("declined",)
        box.cap += op.amount
        box.wanted = None if box.wanted is None else box.wanted + op.amount
        box.sink()
        return ("done",)

    def change_limits(self, op: ChangeLimits) -> Outcome:
        box = self.boxes[op.budget_id]
        if op.seen is not None and op.seen != self.limits(op.budget_id):
            return ("declined",)
        if (op.limits.window, op.limits.window_seconds) != (box.window, box.seconds):
            box.window, box.seconds = op.limits.window, op.limits.window_seconds
            box.is_open = box.window == "rolling"
        box.cap = box.wanted = op.limits.cap
        box.sink()
        return ("done",)

    def limits(self, id_: int) -> Limits:
        box = self.boxes[id_]
        return Limits(box.limit, box.window, box.seconds, self.zone)


def first_tokens(counts: Counts, tokens: int) -> Counts:
    """The part of a request that its first so many tokens are: the prompt comes first."""
    prompt = min(counts.prompt_tokens, tokens)
    completion = min(counts.completion_tokens, tokens - prompt)
    return Counts(prompt, completion, min(counts.cached_tokens, prompt), min(counts.reasoning_tokens, completion))
