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
from inference.events import FINAL, Event, Text

log = structlog.get_logger(__name__)

#: A neuron that cannot publish for this long cancels what it runs: nobody can be reading it (DESIGN 3.6).
OUTAGE_LIMIT_S = 8.0
#: Nobody watches the tokens of an answer that does not stream, so its text travels in pieces of about this long.
WHOLE_ANSWER_PERIOD_S = 0.25


class _Route:
    """Where an attempt's events go, and the number of its next one."""

    __slots__ = ("due_s", "gateway", "held", "seq", "stream", "tokens")

    def __init__(self, gateway: str, *, stream: bool) -> None:
        self.gateway = gateway
        self.stream = stream
        self.seq = 0
        self.held: list[str] = []
        self.tokens = 0
        self.due_s = 0.0


class Publisher:
    """`publish` is called by device threads and only queues; one thread of its own talks to Redis.

    `on_outage` is called once when Redis has been away for too long.
    """

    def __init__(self, client: redis.Redis, *, on_outage: Callable[[], None]) -> None:
        self._redis = client
        self._on_outage = on_outage
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

    def _number(self, events: Sequence[tuple[str, Event]]) -> tuple[dict[str, list[wire.Published]], list[str]]:
        """The events by gateway, numbered; and the attempts that are over with them."""
        by_gateway: dict[str, list[wire.Published]] = {}
        over: list[str] = []
        now_s = time.monotonic()
        for attempt_id, event in events:
            route = self._routes.get(attempt_id)
            if route is None:
                log.error("event_without_route", attempt=attempt_id)
                continue
            published = by_gateway.setdefault(route.gateway, [])
            if type(event) is Text and not route.stream and now_s < route.due_s:
                route.held.append(event.text)
                route.tokens = event.completion_tokens
                continue
            for due in _with_held_text(route, event):
                published.append((attempt_id, route.seq, due))
                route.seq += 1
            route.due_s = now_s + WHOLE_ANSWER_PERIOD_S
            if type(event) in FINAL:
                over.append(attempt_id)
        return by_gateway, over

    def _send(self, by_gateway: dict[str, list[wire.Published]], over: list[str]) -> None:
        """Publish until Redis has acknowledged it. A repeat after a lost acknowledgement is dropped by its number."""
        entries = {
            wire.gateway_stream(gateway): wire.encode_published(events)
            for gateway, events in by_gateway.items()
            if events
        }
        failing_since_s: float | None = None
        while entries:
            try:
                pipe = self._redis.pipeline(transaction=False)
                for stream, payload in entries.items():
                    pipe.xadd(stream, {wire.EVENTS_FIELD: payload})
                pipe.execute()
                break
            except (RedisError, OSError) as fault:
                failing_since_s = self._note_outage(failing_since_s, fault)
                if self._stopping:
                    break
                time.sleep(0.2)
        for attempt_id in over:
            self._routes.pop(attempt_id, None)

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


def _with_held_text(route: _Route, event: Event) -> list[Event]:
    """The event, and before it or joined with it the text held back for a whole answer."""
    if not route.held:
        return [event]
    text, route.held = "".join(route.held), []
    if type(event) is Text:
        return [Text(text + event.text, event.completion_tokens)]
    return [Text(text, route.tokens), event]
