"""Requests of mixed lengths, and how long an engine takes for all of them, scheduler and sampler included."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from inference.engine import Engine
from inference.engine.bench.shapes import word_of
from inference.events import FINAL, Event, Finished
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest, Sampling


@dataclass(frozen=True)
class Workload:
    """Prompts, and how many tokens to write after each."""

    prompts: list[list[int]]
    outputs: list[int]

    @property
    def output_tokens(self) -> int:
        return sum(self.outputs)


def mixed(count: int, *, prompt: tuple[int, int], output: tuple[int, int], vocabulary: int) -> Workload:
    """Lengths uniform between two bounds, the same in every call."""
    dice = random.Random(0)  # noqa: S311  # the same lengths again, not secrets
    prompts = [[dice.randrange(3, vocabulary) for _ in range(dice.randint(*prompt))] for _ in range(count)]
    return Workload(prompts, [dice.randint(*output) for _ in range(count)])


class Served:
    """An engine with one model, which requests are sent to all at once. To be closed."""

    def __init__(self, folder: str, device: str, *, max_in_flight: int = 16) -> None:
        self._finals: list[Event] = []
        self._changed = threading.Condition()
        admission = AdmissionPolicy(max_in_flight=max_in_flight, max_queue_depth=10_000, max_wait_s=math.inf)
        self.engine = Engine(device, publish=self._take, admission=admission)
        self.facts = self.engine.load("model", folder)

    def _take(self, events: Sequence[tuple[str, Event]]) -> None:
        finals = [event for _, event in events if isinstance(event, FINAL)]
        if finals:
            with self._changed:
                self._finals += finals
                self._changed.notify()

    def seconds(self, work: Workload) -> float:
        """From the first submit to the last final event; raises if not every token was written."""
        self._finals.clear()
        started = time.perf_counter()
        for index, (prompt, tokens) in enumerate(zip(work.prompts, work.outputs, strict=True)):
            self.engine.submit(_request(f"{started}-{index}", prompt, tokens))
        with self._changed:
            self._changed.wait_for(lambda: len(self._finals) == len(work.prompts))
        seconds = time.perf_counter() - started
        written = sum(event.completion_tokens for event in self._finals if isinstance(event, Finished))
        if written != work.output_tokens:
            raise RuntimeError(f"{written} of {work.output_tokens} tokens were written: {self._finals[0]}")
        return seconds

    def close(self) -> None:
        self.engine.close()


def _request(request_id: str, prompt: list[int], tokens: int) -> GenerationRequest:
    return GenerationRequest(
        id=request_id,
        model="model",
        messages=[{"role": "user", "content": " ".join(map(word_of, prompt))}],
        max_tokens=tokens,
        sampling=Sampling(temperature=0),
        ignore_eos=True,
        account=request_id,  # nobody's prompt is in memory already
    )
