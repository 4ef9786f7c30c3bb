"""A request's attempt on one neuron, as its gateway sees it: the events that have come, in order, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from accounts.booking.operations import TokensLeft
from fleet.reports import NeuronReport
from inference.events import Event, Failed, Finished, Started
from inference.refusals import Refusal
from inference.usage import Usage

#: Events a client may leave unread before its attempt is ended: more than hours of one answer, minutes of 128 choices.
MOST_UNREAD_EVENTS = 50_000
#: Reports without an attempt that had started, or whose order may be gone, before it counts as lost. Final records
#: appear in them after 5 s.
MOST_MISSED_REPORTS = 7


class AttemptLost(Refusal):
    """The neuron is gone or lost track: there will be no final event. Another neuron may be asked if no token left."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="service_unavailable", retry_after_s=5)


class Attempt:
    """One attempt. Its gateway's relay pushes, its consumer takes; both run on the gateway's event loop.

    It ends twice: for its consumer at the final event or a fault of this side, and for the books once nothing can
    come any more that counts (`over`): at the final event, or at a fence, which closes the stream for this attempt.
    """

    __slots__ = (
        "_fault",
        "_news",
        "_next_seq",
        "_pending",
        "doubtful",
        "ended",
        "estimated",
        "final",
        "first_position",
        "id",
        "key_pk",
        "lost",
        "missed_reports",
        "model",
        "neuron",
        "over",
        "started",
        "tokens_left",
        "usage",
    )

    def __init__(self, attempt_id: str, *, model: str, neuron: NeuronReport, key_pk: int | None) -> None:
        self.id = attempt_id
        self.model = model
        self.neuron = neuron
        self.key_pk = key_pk
        self.started = False
        #: Nothing more comes for the consumer.
        self.ended = False
        #: Nothing more comes that counts; `estimated` if no final event said so.
        self.over = False
        self.estimated = False
        #: Its neuron is gone or knows nothing of it: no final event is to be expected.
        self.lost = False
        self.final: Finished | Failed | None = None
        self.usage = Usage()
        #: What its budgets had room for when it was granted; None without a cap in tokens.
        self.tokens_left: TokensLeft | None = None
        self.missed_reports = 0
        #: Redis went away while it had not started, and may have taken its order along.
        self.doubtful = False
        #: Where the gateway's stream was read to when this attempt began: nothing after it may be trimmed away.
        self.first_position = "0"
        self._next_seq = 0
        self._pending: list[Event] = []
        self._fault: Refusal | None = None
        self._news = asyncio.Event()

    def push(self, seq: int, event: Event) -> None:
        """Take the next event. One seen before is dropped: a neuron sends again what it is not sure of.

        What comes after the consumer's end still counts, since it was generated and has left the neuron.
        """
        if self.over or seq < self._next_seq:
            return
        gap, self._next_seq = seq > self._next_seq, seq + 1
        self._count(event)
        if not self.ended:
            if gap:
                self.fail(AttemptLost("Events of this answer were lost between the neuron and the gateway."))
            else:
                self._pending.append(event)
                self.ended = self.final is not None
        self._news.set()

    def _count(self, event: Event) -> None:
        self.usage = self.usage.after(event)
        if isinstance(event, Started):
            self.started = True
        elif isinstance(event, Finished | Failed):
            self.final, self.over = event, True

    def fail(self, fault: Refusal) -> None:
        """End the attempt for its consumer. What had come before is still delivered."""
        if not self.ended:
            self.ended = True
            self._fault = fault
            self._news.set()

    def lose(self, fault: Refusal) -> None:
        """No final event will come: the consumer is told, and the books need wait no longer than for a fence."""
        self.lost = True
        self.fail(fault)
        self._news.set()

    def fence(self) -> None:
        """The stream is closed for this attempt: what came before counts, and nothing that comes later."""
        if not self.over:
            self.over = self.estimated = True
            self.lose(AttemptLost("This request was given up; another gateway may have settled it."))

    def recover(self, counts: tuple[int, int, int, int]) -> None:
        """Its neuron still had the final record whose event was lost on the way."""
        if not self.over:
            self.usage = self.usage.at_least(counts)
            self.over = True
            self.fail(AttemptLost("Events of this answer were lost between the neuron and the gateway."))
            self._news.set()

    @property
    def unread(self) -> int:
        return len(self._pending)

    async def events(self, timeout_s: float | None = None) -> list[Event]:
        """All events at hand, at least one, after waiting for it.

        Raises the Refusal that ended the attempt from the gateway's side, and TimeoutError.
        """
        while not self._pending:
            if self._fault is not None:
                raise self._fault
            await self._wait(timeout_s)
        events, self._pending = self._pending, []
        return events

    async def conclusion(self, timeout_s: float | None = None) -> None:
        """Wait until it is over or lost, when no consumer takes events any more. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not (self.over or self.lost):
                await self._wait(None)

    async def closing(self) -> None:
        """Wait until it is over."""
        while not self.over:
            await self._wait(None)

    async def _wait(self, timeout_s: float | None) -> None:
        if timeout_s is None:
            await self._news.wait()
        else:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()


class Attempts:
    """The attempts that run through one gateway, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Attempt] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, attempt: Attempt) -> None:
        self._by_id[attempt.id] = attempt

    def close(self, attempt: Attempt) -> None:
        self._by_id.pop(attempt.id, None)

    def get(self, attempt_id: str) -> Attempt | None:
        return self._by_id.get(attempt_id)

    def by_neuron(self) -> dict[str, int]:
        """How many run on each neuron, by its name."""
        counts: dict[str, int] = {}
        for attempt in self._by_id.values():
            counts[attempt.neuron.name] = counts.get(attempt.neuron.name, 0) + 1
        return counts

    def key_pks(self) -> set[int]:
        return {attempt.key_pk for attempt in self._by_id.values() if attempt.key_pk is not None}

    def fail_where(self, key_pks: Iterable[int], fault: Refusal) -> list[Attempt]:
        """End the attempts of these keys; returns them, for their neurons still run."""
        keys = set(key_pks)
        hit = [attempt for attempt in self._by_id.values() if attempt.key_pk in keys and not attempt.ended]
        for attempt in hit:
            attempt.fail(fault)
        return hit

    def lose_all(self, fault: Refusal) -> None:
        for attempt in self._by_id.values():
            attempt.lose(fault)

    def doubt(self) -> None:
        """Redis was away: an order that a neuron was just taking from it may be nowhere now.

        In no other case does an order that nobody reports mean anything: it may wait behind others for long.
        """
        for attempt in self._by_id.values():
            attempt.doubtful = True

    def oldest_position(self, now: str) -> str:
        """The first position of the stream that is still needed; `now` where nothing is."""
        return min((attempt.first_position for attempt in self._by_id.values()), key=stream_order, default=now)

    def check(self, report: NeuronReport) -> None:
        """Hold the attempts on a neuron against its newest report.

        Another boot knows nothing of them. One that has started, or is in doubt, and is absent from so many in a row
        was lost, unless the neuron has its final record: a final event is published before the attempt leaves the
        report.
        """
        for attempt in self._by_id.values():
            if attempt.neuron.name != report.name or attempt.over or attempt.lost:
                continue
            record = report.finals.get(attempt.id)
            if attempt.neuron.boot_id != report.boot_id:
                attempt.lose(AttemptLost("The neuron that worked on this request restarted."))
            elif record is not None:
                attempt.recover(record)
            elif attempt.started or attempt.doubtful:
                attempt.missed_reports = 0 if attempt.id in report.running else attempt.missed_reports + 1
                if attempt.missed_reports >= MOST_MISSED_REPORTS:
                    attempt.lose(AttemptLost("The neuron lost track of this request."))

    def lose_neurons(self, silent: Iterable[str]) -> None:
        """End the attempts on neurons that have fallen silent."""
        names = set(silent)
        for attempt in self._by_id.values():
            if attempt.neuron.name in names and not attempt.over:
                attempt.lose(AttemptLost("The neuron that worked on this request stopped answering."))


def stream_order(position: str) -> tuple[int, int]:
    """Redis orders entries by their time and a number within it."""
    time_ms, _, number = position.partition("-")
    return int(time_ms), int(number or 0)
