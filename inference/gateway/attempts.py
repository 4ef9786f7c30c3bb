"""A request's attempt on one neuron, as its gateway sees it: the events that have come, in order, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fleet.reports import NeuronReport
from inference.events import FINAL, Event, Started
from inference.refusals import Refusal

#: Events a client may leave unread before its attempt is ended: more than any model's longest answer has steps.
MOST_UNREAD_EVENTS = 50_000


class AttemptLost(Refusal):
    """The neuron is gone or lost track: there will be no final event. Another neuron may be asked if no token left."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="service_unavailable", retry_after_s=5)


class Attempt:
    """One attempt. Its gateway's relay pushes, its consumer takes; both run on the gateway's event loop."""

    __slots__ = (
        "_fault",
        "_next_seq",
        "_pending",
        "_wake",
        "ended",
        "id",
        "key_pk",
        "missed_reports",
        "model",
        "neuron",
        "started",
    )

    def __init__(self, attempt_id: str, *, model: str, neuron: NeuronReport, key_pk: int | None) -> None:
        self.id = attempt_id
        self.model = model
        self.neuron = neuron
        self.key_pk = key_pk
        self.started = False
        self.ended = False
        self.missed_reports = 0
        self._next_seq = 0
        self._pending: list[Event] = []
        self._fault: Refusal | None = None
        self._wake = asyncio.Event()

    def push(self, seq: int, event: Event) -> None:
        """Take the next event. One seen before is dropped: a neuron sends again what it is not sure of."""
        if self.ended or seq < self._next_seq:
            return
        if seq > self._next_seq:
            self.fail(AttemptLost("Events of this answer were lost between the neuron and the gateway."))
            return
        self._next_seq += 1
        self._pending.append(event)
        if type(event) is Started:
            self.started = True
        elif type(event) in FINAL:
            self.ended = True
        self._wake.set()

    def fail(self, fault: Refusal) -> None:
        """End the attempt from this side. What had come before is still delivered."""
        if not self.ended:
            self.ended = True
            self._fault = fault
            self._wake.set()

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
            if timeout_s is None:
                await self._wake.wait()
            else:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            self._wake.clear()
        events, self._pending = self._pending, []
        return events


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

    def fail_all(self, fault: Refusal) -> None:
        for attempt in self._by_id.values():
            attempt.fail(fault)

    def check(self, report: NeuronReport) -> None:
        """Hold the attempts on a neuron against its newest report.

        Another boot knows nothing of them. One that has started and is absent from two reports in a row was lost:
        a final event is published before the attempt leaves the report, so it would have come.
        """
        for attempt in self._by_id.values():
            if attempt.neuron.name != report.name or attempt.ended:
                continue
            if attempt.neuron.boot_id != report.boot_id:
                attempt.fail(AttemptLost("The neuron that worked on this request restarted."))
            elif attempt.started:
                attempt.missed_reports = 0 if attempt.id in report.running else attempt.missed_reports + 1
                if attempt.missed_reports >= 2:
                    attempt.fail(AttemptLost("The neuron lost track of this request."))

    def lose_neurons(self, silent: Iterable[str]) -> None:
        """End the attempts on neurons that have fallen silent."""
        names = set(silent)
        for attempt in self._by_id.values():
            if attempt.neuron.name in names:
                attempt.fail(AttemptLost("The neuron that worked on this request stopped answering."))
