"""An engine without a thread: a test takes each step itself, and says what time it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inference.engine.limits.limits import ModelLimits
from inference.engine.loading.loaded_models import LoadedModels
from inference.engine.model import LoadedModel
from inference.engine.network.runner import Runner
from inference.engine.progress import silent
from inference.engine.requests.admission import admit
from inference.engine.requests.generation import Generation
from inference.engine.requests.submissions import Submissions
from inference.engine.scheduling.scheduler import Scheduler
from inference.engine.scheduling.stepping import Stepping
from inference.events import Failed, Finished
from inference.policies import DEFAULT_ADMISSION, DEFAULT_CONTEXT, ContextPolicy
from tests.engine.conftest import Listener, request_for


def loaded(folder: Path) -> LoadedModel:
    """The model of a folder as `tiny`."""
    models = LoadedModels(torch.device("cpu"), cache=folder, kv_tokens=16, places=1, context=DEFAULT_CONTEXT)
    models.load("tiny", str(folder), progress=silent, on_device=lambda work: work())
    return models["tiny"]


class Stepped:
    """What an engine is made of, on the thread of the test. Its memory is its own and proven after every step."""

    def __init__(self, model: LoadedModel, *, places: int = 8, kv_tokens: int = 8192) -> None:
        limits = ModelLimits(
            ContextPolicy(derive=False), maximum=kv_tokens, pool_tokens=kv_tokens, prefill_rate=None, now=0.0
        )
        self.model = replace(model, limits=limits, runner=Runner(model.network, kv_tokens, lanes=places))
        self.now = 0.0
        self.computed: list[int] = []  # tokens, of each step
        self.listener = Listener()
        self.submissions = Submissions(self.listener)
        self.scheduler = Scheduler(places)
        nothing_loaded = LoadedModels(
            torch.device("cpu"), cache=Path(), kv_tokens=None, places=places, context=DEFAULT_CONTEXT
        )
        self.stepping = Stepping(
            self.scheduler,
            self.submissions,
            nothing_loaded,
            admission=DEFAULT_ADMISSION,
            clock=lambda: self.now,
            wake=lambda: None,
            proves_when_idle=False,
        )

    def submit(self, request_id: str, content: str = "Hello!", **fields: Any) -> None:
        """A request that passes every check, greedy unless told otherwise."""
        request = request_for(request_id, content, **fields)
        assert self.submissions.begin(request_id, in_turn=False)
        generation = admit(request, self.model, arrived_at=self.now)
        assert isinstance(generation, Generation), generation
        assert self.submissions.queue(generation, onto=self.scheduler.add, refusal=lambda _here: None) is None

    def step(self) -> bool:
        """True while there is more to do."""
        more = self.stepping.advance()
        self.computed.append(sum(self.scheduler._turns.values()))
        self.scheduler.check([self.model])
        return more

    def run(self, most_steps: int = 10_000) -> None:
        """Go on until nothing is left, and find all memory free."""
        steps = 0
        while self.step():
            steps += 1
            assert steps < most_steps, "it does not end"
        pool = self.model.runner.pool
        pool.check([])
        assert pool.free_blocks == pool.blocks

    def answer(self, request_id: str, content: str = "Hello!", **fields: Any) -> Finished | Failed:
        """The end of a request that is submitted now, and of all that is here."""
        self.submit(request_id, content, **fields)
        self.run()
        return self.listener.final(request_id)

    def running(self) -> list[str]:
        """Ids of the requests that hold a place, once for each, oldest first."""
        return [place.generation.id for place in self.scheduler._running if place.sequence.running]
