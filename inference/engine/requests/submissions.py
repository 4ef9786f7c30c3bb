"""The requests that an engine was given, up to the moment when their last event is with whoever waits for it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from inference.engine.requests.generation import Generation
from inference.events import FINAL, Event, Failed

logger = logging.getLogger(__name__)

#: Takes the events of one step, each with its request's id, in order.
Publish = Callable[[Sequence[tuple[str, Event]]], None]


class Load(NamedTuple):
    """Requests that hold a place in the step, and requests that wait for one."""

    running: int
    waiting: int


class Submissions:
    """Requests by their ids, first while they are checked, then as generations. For any thread."""

    def __init__(self, publish: Publish | None) -> None:
        self._publish = publish
        self._lock = threading.Lock()  # guards everything below
        self._admitting: set[str] = set()
        self._in_turn: set[str] = set()  # those of them that are checked on another thread
        self._generations: dict[str, Generation] = {}
        self._cancels: set[str] = set()
        self._listeners: dict[str, queue.SimpleQueue[Event]] = {}

    def begin(self, request_id: str, *, in_turn: bool) -> bool:
        """Take in a request to be checked, `in_turn` on another thread. False if it is here already."""
        with self._lock:
            if self._holds(request_id):
                return False
            self._admitting.add(request_id)
            if in_turn:
                self._in_turn.add(request_id)
            return True

    def awaits_turn(self, request_id: str) -> bool:
        with self._lock:
            return request_id in self._in_turn

    def end_turn(self, request_id: str) -> bool:
        """Take a request out of those that are checked in turn: who is told True has to end it or to queue it."""
        with self._lock:
            waits = request_id in self._in_turn
            self._in_turn.discard(request_id)
            return waits

    def awaiting_turns(self) -> list[str]:
        with self._lock:
            return list(self._in_turn)

    def listen(self, request_id: str) -> queue.SimpleQueue[Event]:
        """Where the events of a request go that is about to be submitted. Raises ValueError if it is here already."""
        with self._lock:
            if self._holds(request_id):
                raise ValueError(f"a request {request_id!r} is running already")
            return self._listeners.setdefault(request_id, queue.SimpleQueue())

    def queue(
        self,
        generation: Generation,
        *,
        onto: Callable[[Generation], None],
        refusal: Callable[[list[Generation]], Failed | None],
    ) -> Failed | None:
        """Hand a checked request on, unless there is a `refusal`, given those for its model that are here.

        In one go under the lock: whoever takes a model away ends the generations that `of` gives after that, and no
        two take the last place.
        """
        with self._lock:
            refused = refusal(self._of(generation.model.id))
            if refused is None:
                self._admitting.discard(generation.id)
                self._generations[generation.id] = generation
                onto(generation)
            return refused

    def cancel(self, request_id: str) -> bool:
        """Flag a request. False if it is not here, or not any more."""
        with self._lock:
            if not self._holds(request_id):
                return False
            self._cancels.add(request_id)
            return True

    def cancelled(self) -> list[Generation]:
        """Those that were flagged and are checked."""
        with self._lock:
            return [self._generations[id_] for id_ in self._cancels if id_ in self._generations]

    def overdue(self, now: float) -> list[Generation]:
        with self._lock:
            return [one for one in self._generations.values() if one.deadline is not None and one.deadline <= now]

    def waiting_since(self, moment: float) -> list[Generation]:
        """Those that came before then and have not begun."""
        with self._lock:
            waiting = [one for one in self._generations.values() if one.arrived_at <= moment]
        return [one for one in waiting if not (one.started or one.running or one.ended)]

    def of(self, model_id: str | None) -> list[Generation]:
        """The checked requests for a model; for all where none is named."""
        with self._lock:
            return self._of(model_id)

    def _of(self, model_id: str | None) -> list[Generation]:
        return [one for one in self._generations.values() if model_id in (None, one.model.id)]

    def load(self, model_id: str) -> Load:
        """How much there is to do for a model."""
        return _load(self.of(model_id))

    def load_of(self, account: str | None) -> Load:
        """How much there is to do for an account, whichever the model."""
        return _load(one for one in self.of(None) if one.account == account)

    def ids(self) -> list[str]:
        with self._lock:
            return [*self._admitting, *self._generations]

    def deliver(self, events: Sequence[tuple[str, Event]]) -> None:
        """Hand events out; a request is forgotten only after its final event is with whoever waits for it."""
        published = [(request_id, event) for request_id, event in events if not self._tell_listener(request_id, event)]
        if published and self._publish:
            try:
                self._publish(published)
            except Exception:
                logger.exception("%d events could not be published", len(published))
        with self._lock:
            for request_id, event in events:
                if isinstance(event, FINAL):
                    self._admitting.discard(request_id)
                    self._generations.pop(request_id, None)
                    self._cancels.discard(request_id)
                    self._listeners.pop(request_id, None)

    def _tell_listener(self, request_id: str, event: Event) -> bool:
        with self._lock:
            listener = self._listeners.get(request_id)
        if listener is None:
            return False
        listener.put(event)
        return True

    def _holds(self, request_id: str) -> bool:
        """Whether the request was submitted and its final event is not published yet. Called under the lock."""
        return request_id in self._admitting or request_id in self._generations


def _load(generations: Iterable[Generation]) -> Load:
    running = [one.running for one in generations if not one.ended]
    return Load(sum(running), len(running) - sum(running))
