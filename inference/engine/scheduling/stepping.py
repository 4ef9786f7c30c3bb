"""A step of the device: who runs is advanced once, who is to end ends, and what came of it is delivered."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from inference.engine.grammars.grammar import GrammarError
from inference.engine.loading.loaded_models import LoadedModels
from inference.engine.model import LoadedModel
from inference.engine.requests import queueing
from inference.engine.requests.admission import grammar_field
from inference.engine.requests.generation import Generation
from inference.engine.requests.submissions import Submissions
from inference.engine.scheduling import batch
from inference.engine.scheduling.batch import Outcome
from inference.engine.scheduling.scheduler import Scheduler, Turn
from inference.events import FINAL, Event, Failed, Finished
from inference.policies import AdmissionPolicy

logger = logging.getLogger(__name__)

UNCLASSIFIED = "The model could not finish this request. It can be sent again."
DEVICE_FAILED = "The device failed while it had this request. It can be sent again."


class Stepping:
    """The owner thread's alone, except for `step`, which counts the steps taken. `wake` asks it for another one."""

    def __init__(
        self,
        scheduler: Scheduler,
        submissions: Submissions,
        models: LoadedModels,
        *,
        admission: AdmissionPolicy,
        clock: Callable[[], float],
        wake: Callable[[], None],
        proves_when_idle: bool,
    ) -> None:
        self.step = 0
        self._scheduler = scheduler
        self._submissions = submissions
        self._models = models
        self._admission = admission
        self._clock = clock
        self._wake = wake
        self._proves_when_idle = proves_when_idle
        self._outbox: list[tuple[str, Event]] = []

    def advance(self) -> bool:
        """Take a step. True while there is more to do."""
        self.step += 1
        self._end_cancelled()
        self._end_overdue()
        self._refuse_without_memory()
        started = self._clock()
        turns = self._scheduler.plan()
        for generation, fault in self._scheduler.faults():
            self._take(Outcome(generation, [], fault))
        for outcome in batch.compute(turns, shrink=self._scheduler.shrink):
            self._take(outcome)
        self._measure(turns, self._clock() - started)
        if self._proves_when_idle and not self._scheduler.has_work:
            self.check()
        self._publish()
        return self._scheduler.has_work and (bool(turns) or not self._sleeps())

    def end_all(self, message: str, *, of_model: str | None = None) -> None:
        """End every request, or every one for a model, that was checked so far."""
        for generation in self._submissions.of(of_model):
            self._end(generation, generation.given_up(message))
        self._publish()

    def end_begun(self) -> None:
        """The device is broken: end every request that has had a place in the step. The others go on waiting."""
        for generation in self._submissions.of(None):
            if generation.begun:
                self._end(generation, generation.given_up(DEVICE_FAILED))
        self._publish()

    def go_on(self) -> None:
        """The models are loaded again: those that wait do so for them, or end where theirs did not come back."""
        for generation in self._submissions.of(None):
            model = self._models.get(generation.model.id)
            if model is not None and model.is_again(generation.model) and not generation.begun:
                generation.move(model)
            else:
                self._end(generation, generation.given_up(DEVICE_FAILED))
        self._publish()
        self._wake()

    def check(self) -> None:
        """Prove that no block is lost: raises AssertionError."""
        self._scheduler.check(self._models.all())

    def _sleeps(self) -> bool:
        """Whether there is nothing to compute before a mask is ready; if so, the first that is wakes the thread."""
        late = [sequence.sampler_row.constraint for sequence in self._scheduler.late]
        for constraint in late:
            if constraint is not None:
                constraint.when_ready(self._wake)
        return bool(late)

    def _end_cancelled(self) -> None:
        for generation in self._submissions.cancelled():
            logger.info("request %s: cancel flag seen at step %d", generation.id, self.step)
            self._end(generation, generation.cancelled())

    def _end_overdue(self) -> None:
        now = self._clock()
        for generation in self._submissions.overdue(now):
            self._end(generation, generation.failed(None, queueing.OVERDUE))
        for generation in self._submissions.waiting_since(now - self._admission.max_wait_s):
            here = self._submissions.of(generation.model.id)
            self._end(generation, queueing.waited_too_long(self._admission, generation.model.id, here))

    def _refuse_without_memory(self) -> None:
        for generation in self._scheduler.arrived:
            refused = queueing.without_memory(self._admission, generation.model, generation.model.network.device)
            if refused is not None:
                self._end(generation, refused)

    def _measure(self, turns: list[Turn], seconds: float) -> None:
        self._scheduler.took(seconds)
        prompt_tokens: Counter[LoadedModel] = Counter()
        for turn in turns:
            prompt_tokens[turn.generation.model] += turn.tokens if turn.tokens > 1 else 0
        for model, tokens in prompt_tokens.items():
            if tokens:
                model.limits.observe(tokens, seconds, now=self._clock())

    def _take(self, outcome: Outcome) -> None:
        generation = outcome.generation
        if isinstance(outcome.fault, GrammarError):
            param = grammar_field(generation.request)
            self._end(generation, generation.failed("invalid_value", str(outcome.fault), param=param))
        elif outcome.fault is not None:
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
        self._outbox.append((generation.id, event))
        self._scheduler.end(generation)
        try:
            generation.release()
        except Exception:  # its memory may be lost, which is no reason to end others
            logger.exception("request %s: its memory could not be released", generation.id)
        if isinstance(event, Finished) and event.reason == "cancelled":
            logger.info("request %s: ended by cancel at step %d", generation.id, self.step)

    def _publish(self) -> None:
        events, self._outbox = self._outbox, []
        if events:
            self._submissions.deliver(events)
