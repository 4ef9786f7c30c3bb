"""The engine of one device: load models, submit requests, receive events."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from inference.engine.device import kernel_caches, openmp
from inference.engine.device.owner import DeviceOwner, OwnerClosedError, Result
from inference.engine.facts import ModelFacts
from inference.engine.limits.limits import Limit
from inference.engine.loading.loaded_models import CLOSING, LoadedModels
from inference.engine.progress import LoadError, Progress, silent
from inference.engine.requests import queueing
from inference.engine.requests.admission import admit, not_loaded, takes_long
from inference.engine.requests.generation import Generation
from inference.engine.requests.submissions import Publish, Submissions
from inference.engine.requests.turns import Turns
from inference.engine.scheduling.scheduler import Scheduler
from inference.engine.scheduling.stepping import Stepping
from inference.events import FINAL, Event, Failed, Finished
from inference.policies import DEFAULT_ADMISSION, DEFAULT_CONTEXT, AdmissionPolicy, ContextPolicy
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)

ENGINE_CLOSING = "The engine is closing."


@dataclass(frozen=True)
class ModelStatus:
    """A loaded model; `in_flight` requests hold a place in the step, `queue_depth` wait for one.

    `limit` is None where none is derived.
    """

    id: str
    facts: ModelFacts
    in_flight: int
    queue_depth: int
    limit: Limit | None


class Engine:
    """Runs models on one device, for its whole life on one thread of its own.

    Every submitted request ends with exactly one final event, whatever happens. `publish` is called once per step
    with the events of that step, on the device's thread, and for a refusal on the thread that submitted; it must not
    block for long. `cache` keeps converted weights. `admission` and `context` say how much is taken on. `kv_tokens` is
    the context that each model has memory for, all its sequences together; derived where it is not said. `clock` gives
    the seconds that deadlines and the share of prompts in a step go by. With `proves_when_idle` the accounting of
    memory is proven whenever nothing runs, and a fault in it treated as one of the device.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        publish: Publish | None = None,
        cache: Path | None = None,
        admission: AdmissionPolicy = DEFAULT_ADMISSION,
        context: ContextPolicy = DEFAULT_CONTEXT,
        kv_tokens: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        proves_when_idle: bool = False,
    ) -> None:
        kernel_caches.bound()
        self.device = torch.device(device)
        self._clock = clock
        self._admission = admission
        self._models = LoadedModels(
            self.device,
            cache=cache or Path(tempfile.gettempdir()) / "helexa-models",
            kv_tokens=kv_tokens,
            places=admission.max_in_flight,
            context=context,
        )
        self._submissions = Submissions(publish)
        self._scheduler = Scheduler(admission.max_in_flight)
        self._stepping = Stepping(
            self._scheduler,
            self._submissions,
            self._models,
            admission=admission,
            clock=clock,
            wake=lambda: self._owner.nudge(),  # noqa: PLW0108 - there is no owner yet
            proves_when_idle=proves_when_idle,
        )
        self._turns = Turns("admission")
        self._owner = DeviceOwner(
            f"device {device}", step=self._stepping.advance, broken=self._give_up, rebuild=self._rebuild
        )

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self._stepping.step

    # -- models ----------------------------------------------------------------------------------

    def load(self, model_id: str, source: str, *, progress: Progress = silent, quant: str | None = None) -> ModelFacts:
        """Load a folder, a .gguf file or a hub id under `model_id`, and wait for it; one that is loaded stays.

        `quant` holds the vocabulary's weights in "int8" or, as "none", as they are; None leaves that to the machine.
        Raises LoadError with a sentence for whoever asked. Never called from `publish`.
        """
        return self._models.load(model_id, source, progress=progress, on_device=self._call, quant=quant)

    def unload(self, model_id: str) -> None:
        """Forget a model. Its requests end first; a model that is not loaded is no error."""
        self._call(lambda: self._forget(model_id))

    def models(self) -> list[ModelStatus]:
        loads = [(model, self._submissions.load(model.id)) for model in self._models.all()]
        return [
            ModelStatus(model.id, model.facts, load.running, load.waiting, model.limits.advertised)
            for model, load in loads
        ]

    # -- requests --------------------------------------------------------------------------------

    def submit(self, request: GenerationRequest) -> None:
        """Check a request on the calling thread and queue it; on a thread of ours, later, where a grammar takes long.

        A refusal is an event, never an exception.
        """
        arrived_at = self._clock()
        in_turn = takes_long(request)
        if not self._submissions.begin(request.id, in_turn=in_turn):
            logger.warning("request %s is here already: the second one is dropped", request.id)
        elif in_turn:
            self._admit_in_turn(request, arrived_at)
        else:
            self._take_in(request.id, self._admitted(request, arrived_at))

    def cancel(self, request_id: str) -> bool:
        """Flag a request to be ended in the next step. False if it is not here, or not any more."""
        if self._submissions.end_turn(request_id):  # which cannot be interrupted, but nobody waits for it now
            self._submissions.deliver([(request_id, Finished("cancelled", 0, 0))])
            return True
        if not self._submissions.cancel(request_id):
            return False
        logger.info("request %s: cancel flag set at step %d", request_id, self.step)
        self._owner.nudge()
        return True

    def stream(self, request: GenerationRequest) -> Iterator[Event]:
        """Submit a request and yield its events up to the final one. Closing the iterator cancels."""
        events = self._submissions.listen(request.id)
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
        return self._submissions.ids()

    def check(self) -> None:
        """Prove that every block of memory is free or belongs to a request: raises AssertionError."""
        self._owner.call(self._stepping.check)

    def close(self) -> None:
        """End every request, give the device back, and refuse what comes later."""
        gone = self._models.close()
        if gone is None:
            return
        self._turns.close()
        for request_id in self._submissions.awaiting_turns():
            self._refuse_in_turn(request_id)
        self._owner.call(lambda: self._stepping.end_all(ENGINE_CLOSING))
        for model in gone:
            model.grammars.close()
        self._owner.close()

    # -- between threads -------------------------------------------------------------------------

    def _call(self, work: Callable[[], Result]) -> Result:
        """Run work on the owner thread and wait for it, with no workers of the calling thread beside its own."""
        openmp.give_back()
        try:
            return self._owner.call(work)
        except OwnerClosedError:
            raise LoadError(CLOSING) from None

    def _admit_in_turn(self, request: GenerationRequest, arrived_at: float) -> None:
        """Later, on a thread for it: one at a time for each account."""
        if request.only_count:
            waiting = len(self._submissions.awaiting_turns()) - 1
            refused = queueing.count_refusal(self._admission, request.model, waiting)
            if refused and self._submissions.end_turn(request.id):
                self._submissions.deliver([(request.id, refused)])
                return
        try:
            self._turns.add(request.account, lambda: self._admit_when_due(request, arrived_at))
        except RuntimeError:
            self._refuse_in_turn(request.id)

    def _admit_when_due(self, request: GenerationRequest, arrived_at: float) -> None:
        """Admit a request that had to wait for its turn, unless it was cancelled meanwhile or waited too long."""
        if not self._submissions.awaits_turn(request.id):
            return
        here, waited_s = self._submissions.of(request.model), self._clock() - arrived_at
        late = queueing.late(self._admission, request, waited_s, here)
        admitted = late or self._admitted(request, arrived_at)
        if self._submissions.end_turn(request.id):
            self._take_in(request.id, admitted)

    def _refuse_in_turn(self, request_id: str) -> None:
        if self._submissions.end_turn(request_id):
            self._submissions.deliver([(request_id, Failed("service_unavailable", ENGINE_CLOSING))])

    def _admitted(self, request: GenerationRequest, arrived_at: float) -> Generation | Finished | Failed:
        try:
            return admit(request, self._models.get(request.model), arrived_at=arrived_at)
        finally:
            openmp.give_back()

    def _take_in(self, request_id: str, admitted: Generation | Finished | Failed) -> None:
        final = self._queue(admitted) if isinstance(admitted, Generation) else admitted
        if final:
            self._submissions.deliver([(request_id, final)])

    def _queue(self, generation: Generation) -> Failed | None:
        """Hand a checked request to the owner thread, if its model is still here and there is room to wait."""
        refused = self._submissions.queue(
            generation, onto=self._scheduler.add, refusal=lambda here: self._refusal(generation, here)
        )
        if refused is None:
            self._owner.nudge()
        return refused

    def _refusal(self, generation: Generation, here: list[Generation]) -> Failed | None:
        if not self._meets_its_model(generation):
            return not_loaded(generation.model.id)
        return queueing.refusal(self._admission, generation, here)

    def _meets_its_model(self, generation: Generation) -> bool:
        """False if its model went away while it was checked. It may have been loaded again meanwhile."""
        model = self._models.get(generation.model.id)
        if model is None or not model.is_again(generation.model):
            return False
        generation.move(model)
        return True

    # -- on the owner thread ---------------------------------------------------------------------

    def _forget(self, model_id: str) -> None:
        self._models.forget(model_id)
        self._stepping.end_all(f"The model {model_id!r} was unloaded.", of_model=model_id)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _give_up(self) -> None:
        """The device is broken: end what has begun on it. What waits goes on waiting for the thread that takes over."""
        self._models.lose()
        self._stepping.end_begun()

    def _rebuild(self) -> None:
        """On the thread that takes over."""
        self._models.reload()
        self._stepping.go_on()
