"""The engine of one device: load models, submit requests, receive events."""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from inference.engine import sources, weights
from inference.engine.facts import ModelFacts, end_token_ids, facts_of
from inference.engine.loading import LoadError, Progress, silent
from inference.engine.model import LoadedModel
from inference.engine.owner import DeviceOwner, is_device_fault
from inference.engine.prompts import Prompts
from inference.engine.scheduler import Scheduler, Turn
from inference.engine.sequence import Sequence
from inference.events import FINAL, Event, Failed
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)

#: Takes the events of one step, each with its request's id, in order.
Publish = Callable[[SequenceOf[tuple[str, Event]]], None]

UNCLASSIFIED = "The model could not finish this request. It can be sent again."


@dataclass(frozen=True)
class ModelStatus:
    """A loaded model; `in_flight` requests hold a place in the step, `queue_depth` wait for one."""

    id: str
    facts: ModelFacts
    in_flight: int
    queue_depth: int


class Engine:
    """Runs models on one device, for its whole life on one thread of its own.

    Every submitted request ends with exactly one final event, whatever happens. `publish` is called once per step
    with the events of that step, on the device's thread, and for a refusal on the thread that submitted; it must not
    block for long. `cache` keeps converted weights. `step` counts the steps taken.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        publish: Publish | None = None,
        cache: Path | None = None,
        max_in_flight: int = 8,
    ) -> None:
        self.device = torch.device(device)
        self.step = 0
        self._publish = publish
        self._cache = cache or Path(tempfile.gettempdir()) / "helexa-models"
        self._scheduler = Scheduler(max_in_flight)
        self._outbox: list[tuple[str, Event]] = []  # the owner thread's alone
        self._lock = threading.Lock()  # guards everything below
        self._models: dict[str, LoadedModel] = {}
        self._lost: list[LoadedModel] = []
        self._loads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._admitting: set[str] = set()
        self._sequences: dict[str, Sequence] = {}
        self._cancels: set[str] = set()
        self._listeners: dict[str, queue.SimpleQueue[Event]] = {}
        self._closed = False
        self._owner = DeviceOwner(
            f"device {device}", step=self._step, broken=self._give_up, rebuild=self._reload
        )

    # -- models ----------------------------------------------------------------------------------

    def load(self, model_id: str, source: str, *, progress: Progress = silent) -> ModelFacts:
        """Load a folder, a .gguf file or a hub id under `model_id`, and wait for it; one that is loaded stays.

        Raises LoadError with a sentence for whoever asked. Never called from `publish`.
        """
        with self._lock:
            one_at_a_time = self._loads[model_id]
        with one_at_a_time:
            if loaded := self._model(model_id):
                return loaded.facts
            started = time.monotonic()
            folder = sources.folder_of(source, cache=self._cache, progress=progress)
            progress("reading weights")
            model = self._read(model_id, folder, started)
            with self._lock:
                if self._closed:
                    raise LoadError("The engine is closing and loads nothing more.")
                self._models[model_id] = model
            return model.facts

    def unload(self, model_id: str) -> None:
        """Forget a model. Its requests end first; a model that is not loaded is no error."""
        with self._lock:
            self._models.pop(model_id, None)
        self._owner.call(lambda: self._drop(model_id))

    def models(self) -> list[ModelStatus]:
        with self._lock:
            sequences = list(self._sequences.values())
            models = list(self._models.values())
        return [
            ModelStatus(
                model.id,
                model.facts,
                in_flight=sum(s.model.id == model.id and s.running for s in sequences),
                queue_depth=sum(s.model.id == model.id and not s.running and not s.ended for s in sequences),
            )
            for model in models
        ]

    # -- requests --------------------------------------------------------------------------------

    def submit(self, request: GenerationRequest) -> None:
        """Check a request on the calling thread and queue it. A refusal is an event, never an exception."""
        with self._lock:
            if request.id in self._admitting or request.id in self._sequences:
                logger.warning("request %s is here already: the second one is dropped", request.id)
                return
            self._admitting.add(request.id)
        try:
            outcome = self._admit(request)
        except Exception:
            logger.exception("request %s could not be prepared", request.id)
            outcome = Failed(None, UNCLASSIFIED)
        if outcome is None or (refusal := self._queue(outcome) if isinstance(outcome, Sequence) else outcome):
            self._deliver([(request.id, refusal)])

    def cancel(self, request_id: str) -> bool:
        """Flag a request to be ended at the next step. False if it is not here, or not any more."""
        with self._lock:
            if request_id not in self._admitting and request_id not in self._sequences:
                return False
            self._cancels.add(request_id)
        self._owner.nudge()
        return True

    def stream(self, request: GenerationRequest) -> Iterator[Event]:
        """Submit a request and yield its events up to the final one. Closing the iterator cancels."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        with self._lock:
            self._listeners[request.id] = events
        self.submit(request)
        try:
            while True:
                event = events.get()
                yield event
                if isinstance(event, FINAL):
                    return
        finally:
            self.cancel(request.id)

    def running(self) -> list[str]:
        """Ids that were submitted and whose final event is not published yet."""
        with self._lock:
            return [*self._admitting, *self._sequences]

    def close(self) -> None:
        """End every request, give the device back, and refuse what comes later."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._models.clear()
        self._owner.call(lambda: self._end_all("service_unavailable", "The engine is closing."))
        self._owner.close()
