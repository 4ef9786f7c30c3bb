"""The engine of one device: load models, submit requests, receive events."""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from inference.engine import batch, sources, weights
from inference.engine.admission import admit, not_loaded
from inference.engine.batch import Outcome
from inference.engine.facts import ModelFacts, end_token_ids, facts_of
from inference.engine.generation import Generation
from inference.engine.loading import LoadError, Progress, silent
from inference.engine.model import LoadedModel
from inference.engine.owner import DeviceOwner, OwnerClosedError, Result
from inference.engine.prompts import Prompts
from inference.engine.readiness import Ready, ready_runner
from inference.engine.scheduler import Scheduler
from inference.events import FINAL, Event, Failed, Finished
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)

#: Takes the events of one step, each with its request's id, in order.
Publish = Callable[[Sequence[tuple[str, Event]]], None]

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
    block for long. `cache` keeps converted weights. `kv_tokens` is the context that each model has memory for, all its
    sequences together; derived from free memory where it is not said. `step` counts the steps taken.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        publish: Publish | None = None,
        cache: Path | None = None,
        max_in_flight: int = 16,
        kv_tokens: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.step = 0
        self._publish = publish
        self._cache = cache or Path(tempfile.gettempdir()) / "helexa-models"
        self._kv_tokens = kv_tokens
        self._scheduler = Scheduler(max_in_flight)
        self._outbox: list[tuple[str, Event]] = []  # the owner thread's alone
        self._lock = threading.Lock()  # guards everything below
        self._models: dict[str, LoadedModel] = {}
        self._lost: list[LoadedModel] = []
        self._loads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._admitting: set[str] = set()
        self._generations: dict[str, Generation] = {}
        self._cancels: set[str] = set()
        self._listeners: dict[str, queue.SimpleQueue[Event]] = {}
        self._closed = False
        self._owner = DeviceOwner(f"device {device}", step=self._step, broken=self._give_up, rebuild=self._reload)

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
            tokenizer = weights.read_tokenizer(folder)
            prompts = Prompts(tokenizer, model_id)
            runner, parameters = self._call(lambda: self._ready_runner(folder, progress))
            load_seconds = time.monotonic() - started
            model = LoadedModel(
                id=model_id,
                folder=folder,
                facts=facts_of(
                    runner.network,
                    tokenizer,
                    parameters=parameters,
                    kv_tokens=runner.pool.tokens,
                    load_seconds=load_seconds,
                ),
                prompts=prompts,
                tokenizer=tokenizer.backend_tokenizer,
                end_token_ids=end_token_ids(runner.network),
                runner=runner,
            )
            with self._lock:
                if self._closed:
                    raise LoadError("The engine is closing: it loads and unloads nothing more.")
                self._models[model_id] = model
            return model.facts

    def unload(self, model_id: str) -> None:
        """Forget a model. Its requests end first; a model that is not loaded is no error."""
        self._call(lambda: self._forget(model_id))

    def models(self) -> list[ModelStatus]:
        with self._lock:
            generations = list(self._generations.values())
            models = list(self._models.values())
        return [
            ModelStatus(
                model.id,
                model.facts,
                in_flight=sum(g.model.id == model.id and g.running for g in generations),
                queue_depth=sum(g.model.id == model.id and not g.running and not g.ended for g in generations),
            )
            for model in models
        ]

    # -- requests --------------------------------------------------------------------------------

    def submit(self, request: GenerationRequest) -> None:
        """Check a request on the calling thread and queue it. A refusal is an event, never an exception."""
        with self._lock:
            if self._holds(request.id):
                logger.warning("request %s is here already: the second one is dropped", request.id)
                return
            self._admitting.add(request.id)
        admitted = admit(request, self._model(request.model))
        refusal = admitted if isinstance(admitted, Failed) else self._queue(admitted)
        if refusal:
            self._deliver([(request.id, refusal)])

    def cancel(self, request_id: str) -> bool:
        """Flag a request to be ended in the next step. False if it is not here, or not any more."""
        with self._lock:
            if not self._holds(request_id):
                return False
            self._cancels.add(request_id)
        logger.info("request %s: cancel flag set at step %d", request_id, self.step)
        self._owner.nudge()
        return True

    def stream(self, request: GenerationRequest) -> Iterator[Event]:
        """Submit a request and yield its events up to the final one. Closing the iterator cancels."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        with self._lock:
            if self._holds(request.id):
                raise ValueError(f"a request {request.id!r} is running already")
            self._listeners[request.id] = events
        self.submit(request)
        final = False
        try:
            while not final:
                event = events.get()
                final = isinstance(event, FINAL)
                yield event
        finally:
            if not final:
                self.cancel(request.id)

    def running(self) -> list[str]:
        """Ids that were submitted and whose final event is not published yet."""
        with self._lock:
            return [*self._admitting, *self._generations]

    def close(self) -> None:
        """End every request, give the device back, and refuse what comes later."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._models.clear()
        self._owner.call(lambda: self._end_all("The engine is closing."))
        self._owner.close()

    # -- between threads -------------------------------------------------------------------------

    def _call(self, work: Callable[[], Result]) -> Result:
        """Run work on the owner thread and wait for it."""
        try:
            return self._owner.call(work)
        except OwnerClosedError:
            raise LoadError("The engine is closing: it loads and unloads nothing more.") from None

    def _model(self, model_id: str) -> LoadedModel | None:
        with self._lock:
            return self._models.get(model_id)

    def _holds(self, request_id: str) -> bool:
        """Whether the request was submitted and its final event is not published yet. Called under the lock."""
        return request_id in self._admitting or request_id in self._generations

    def _queue(self, generation: Generation) -> Failed | None:
        """Hand a checked request to the owner thread, unless its model went away while it was checked."""
        with self._lock:
            if self._models.get(generation.model.id) is not generation.model:
                return not_loaded(generation.model.id)
            self._admitting.discard(generation.id)
            self._generations[generation.id] = generation
            self._scheduler.add(generation)
        self._owner.nudge()
        return None

    def _deliver(self, events: Sequence[tuple[str, Event]]) -> None:
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

    # -- on the owner thread ---------------------------------------------------------------------

    def _step(self) -> bool:
        """Advance every running sequence once and publish what came of it. True while there is more to do."""
        self.step += 1
        self._end_cancelled()
        for outcome in batch.compute(self._scheduler.plan()):
            self._take(outcome)
        self._publish_step()
        return self._scheduler.has_work

    def _end_cancelled(self) -> None:
        with self._lock:
            cancelled = [self._generations[id_] for id_ in self._cancels if id_ in self._generations]
        for generation in cancelled:
            logger.info("request %s: cancel flag seen at step %d", generation.id, self.step)
            self._end(generation, generation.cancelled())

    def _take(self, outcome: Outcome) -> None:
        generation = outcome.generation
        if outcome.fault is not None:
            logger.error("request %s failed at step %d", generation.id, self.step, exc_info=outcome.fault)
            self._end(generation, generation.failed(None, UNCLASSIFIED))
        for event in outcome.events:
            if isinstance(event, FINAL):
                self._end(generation, event)
            else:
                self._outbox.append((generation.id, event))

    def _end(self, generation: Generation, event: Finished | Failed) -> None:
        if generation.ended:
            return
        generation.release()
        self._outbox.append((generation.id, event))
        if isinstance(event, Finished) and event.reason == "cancelled":
            logger.info("request %s: ended by cancel at step %d", generation.id, self.step)

    def _publish_step(self) -> None:
        events, self._outbox = self._outbox, []
        if events:
            self._deliver(events)

    def _end_all(self, message: str, *, of_model: str | None = None) -> None:
        with self._lock:
            generations = [g for g in self._generations.values() if of_model in (None, g.model.id)]
        for generation in generations:
            self._end(generation, generation.failed("service_unavailable", message))
        self._publish_step()

    def _forget(self, model_id: str) -> None:
        with self._lock:
            self._models.pop(model_id, None)
            self._lost = [model for model in self._lost if model.id != model_id]
        self._end_all(f"The model {model_id!r} was unloaded.", of_model=model_id)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _ready_runner(self, folder: Path, progress: Progress = silent) -> Ready:
        places = self._scheduler.max_in_flight
        return ready_runner(folder, self.device, kv_tokens=self._kv_tokens, places=places, progress=progress)

    def _give_up(self) -> None:
        """The device is broken: end what runs on it. Its models are remembered for the thread that takes over."""
        with self._lock:
            self._lost = [*self._lost, *self._models.values()]
            self._models.clear()
        self._end_all("The device failed while it ran this request. It can be sent again.")

    def _reload(self) -> None:
        """Bring back the models of a device that broke. One that does not load again is gone."""
        with self._lock:
            lost, self._lost = self._lost, []
        for model in lost:
            try:
                again = replace(model, runner=self._ready_runner(model.folder).runner)
            except Exception:
                logger.exception("%s is gone: it could not be loaded again", model.id)
                continue
            with self._lock:
                if not self._closed:
                    self._models.setdefault(model.id, again)
            logger.warning("%s is loaded again", model.id)
