"""A neuron's voice: events of running attempts, numbered and sent to the gateway that asked, a step at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import redis
import structlog
from redis.exceptions import RedisError

from inference import wire
from inference.events import FINAL, Event, Failed, Finished, Text
from inference.usage import Usage
from inference.worker.final_records import FinalRecords

log = structlog.get_logger(__name__)

#: A neuron that cannot publish for this long cancels what it runs: nobody can be reading it (DESIGN 3.6).
OUTAGE_LIMIT_S = 8.0
#: Nobody watches the tokens of an answer that does not stream, so its text travels in pieces of about this long.
WHOLE_ANSWER_PERIOD_S = 0.25

_Ends = dict[str, Finished | Failed]


class _Route:
    """Where an attempt's events go, the number of its next one, and the text held back, by choice."""

    __slots__ = ("due_s", "gateway", "held", "seq", "settled", "stream", "tokens")

    def __init__(self, gateway: str, *, stream: bool) -> None:
        self.gateway = gateway
        self.stream = stream
        self.settled = False
        self.seq = 0
        self.held: dict[int, list[Text]] = {}
        self.tokens = 0
        self.due_s = 0.0

    def hold(self, text: Text) -> None:
        self.held.setdefault(text.index, []).append(text)
        self.tokens = text.completion_tokens

    def release(self) -> list[Event]:
        """The text held back, a piece for each choice, with the request's newest count."""
        held, self.held = self.held, {}
        return [self._joined(texts) for texts in held.values()]

    def _joined(self, texts: list[Text]) -> Text:
        logprobs = [logprob for text in texts for logprob in text.logprobs]
        return Text("".join(text.text for text in texts), self.tokens, texts[0].index, logprobs)


class Publisher:
    """`publish` is called by device threads and only queues; one thread of its own talks to Redis.

    `on_outage` is called once when Redis has been away for too long. `final_records` has what Redis acknowledged.
    """

    def __init__(self, client: redis.Redis, *, on_outage: Callable[[], None]) -> None:
        self._redis = client
        self._on_outage = on_outage
        self.final_records = FinalRecords()
        self._ending = threading.Lock()  # so that an attempt is settled either before it ends or after
        self._routes: dict[str, _Route] = {}
        self._queue: deque[Sequence[tuple[str, Event]]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send what is queued, then end."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=5)

    def open(self, attempt_id: str, *, gateway: str, stream: bool) -> None:
        """Say where the events of an attempt go, before any can come."""
        self._routes[attempt_id] = _Route(gateway, stream=stream)

    def is_open(self, attempt_id: str) -> bool:
        return attempt_id in self._routes

    @property
    def open_attempts(self) -> list[str]:
        """Attempts whose final event has not been acknowledged by Redis."""
        return list(self._routes)

    def settled(self, attempt_ids: Sequence[str]) -> None:
        """The gateway needs no final record of these any more, also of those that still run."""
        with self._ending:
            for attempt_id in attempt_ids:
                if route := self._routes.get(attempt_id):
                    route.settled = True
            self.final_records.forget(attempt_ids)

    def publish(self, events: Sequence[tuple[str, Event]]) -> None:
        self._queue.append(events)
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch: list[tuple[str, Event]] = []
                while self._queue:
                    batch.extend(self._queue.popleft())
                self._send(*self._number(batch))
            if self._stopping:
                return

    def _number(self, events: Sequence[tuple[str, Event]]) -> tuple[dict[str, list[wire.Published]], _Ends]:
        """The events by gateway, numbered; and the attempts that are over with them."""
        by_gateway: dict[str, list[wire.Published]] = {}
        over: _Ends = {}
        now_s = time.monotonic()
        for attempt_id, event in events:
            route = self._routes.get(attempt_id)
            if route is None:
                log.error("event_without_route", attempt=attempt_id)
                continue
            due = _due(route, event, now_s)
            if not due:
                continue
            published = by_gateway.setdefault(route.gateway, [])
            for one in due:
                published.append((attempt_id, route.seq, one))
                route.seq += 1
            route.due_s = now_s + WHOLE_ANSWER_PERIOD_S
            if isinstance(event, FINAL):
                over[attempt_id] = event
        return by_gateway, over

    def _send(self, by_gateway: dict[str, list[wire.Published]], over: _Ends) -> None:
        """Publish until Redis has acknowledged it. A repeat after a lost acknowledgement is dropped by its number."""
        entries = {
            wire.gateway_stream(gateway): wire.encode_published(events) for gateway, events in by_gateway.items()
        }
        failing_since_s: float | None = None
        while entries:
            try:
                pipe = self._redis.pipeline(transaction=False)
                for stream, payload in entries.items():
                    pipe.xadd(stream, {wire.EVENTS_FIELD: payload})
                pipe.execute()
                entries.clear()
            except (RedisError, OSError) as fault:
                failing_since_s = self._note_outage(failing_since_s, fault)
                if self._stopping:
                    break
                time.sleep(0.2)
        self._close(over, acknowledged=not entries)

    def _close(self, over: _Ends, *, acknowledged: bool) -> None:
        """Forget attempts that are over, and keep what Redis knows they came to, where they came to anything."""
        with self._ending:
            for attempt_id, final in over.items():
                route = self._routes.pop(attempt_id, None)
                if route is None or route.settled or not acknowledged:
                    continue
                if any(usage := Usage().after(final)):
                    self.final_records.keep(attempt_id, usage)

    def _note_outage(self, since_s: float | None, fault: Exception) -> float:
        now_s = time.monotonic()
        if since_s is None:
            log.error("publish_failed", reason=str(fault))
            return now_s
        if now_s - since_s > OUTAGE_LIMIT_S:
            log.error("publish_given_up", away_s=round(now_s - since_s, 1))
            self._on_outage()
            return now_s
        return since_s


def _due(route: _Route, event: Event, now_s: float) -> list[Event]:
    """What is to be sent now: the event, after or joined with text held back before it; nothing while it is held."""
    if type(event) is Text and not route.stream:
        route.hold(event)
        return route.release() if now_s >= route.due_s else []
    return [*route.release(), event]
