"""Whatever comes, goes and runs out: no memory is lost, every request ends once, and says what it says alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.engine.answers.transcript import Shown
from inference.engine.loading import weights
from inference.engine.model import LoadedModel
from inference.events import FINAL, Failed, Finished, Started, Text
from tests.engine.stepped import Stepped, loaded
from tests.models import tiny_model

PROMPTS = ["Hello!", "the river runs " * 8, "the river runs " * 14, "the river runs " * 14 + "to the sea", "Who?"]
MOST_TOKENS = 60
#: About four of the requests below, so that memory runs out more often than places do.
KV_TOKENS = 400


@cache
def model() -> LoadedModel:
    """In float32: what is read again differs in its last bits, which in bfloat16 decides between tokens."""
    folder = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "DTYPE", torch.float32)
        try:
            return loaded(tiny_model(folder / "m", eos=False))
        finally:
            shutil.rmtree(folder)


@cache
def alone(prompt: str) -> str:
    """What the model says to it: every shorter answer is a beginning of this one."""
    engine = Stepped(model())
    engine.answer("alone", prompts=[prompt], max_tokens=MOST_TOKENS)
    return engine.listener.text("alone")


class Schedules(RuleBasedStateMachine):
    """Requests of several accounts on six places and too little memory, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Stepped(model(), places=6, kv_tokens=KV_TOKENS)
        self.requests: dict[str, tuple[list[str], int, int]] = {}
        self.broken: set[str] = set()

    @rule(
        account=st.sampled_from(["a", "b", None]),
        key=st.sampled_from(["1", "2"]),
        prompts=st.one_of(st.lists(st.sampled_from(PROMPTS), min_size=size, max_size=size) for size in (1, 1, 3)),
        n=st.sampled_from([1, 1, 1, 3]),
        max_tokens=st.integers(0, MOST_TOKENS),
        priority=st.sampled_from([0, 0, 0, 1]),
        timeout_s=st.sampled_from([None, None, None, 3.0]),
    )
    def submit(
        self,
        account: str | None,
        key: str,
        prompts: list[str],
        n: int,
        max_tokens: int,
        priority: int,
        timeout_s: float | None,
    ) -> None:
        name = f"r{len(self.requests)}"
        self.requests[name] = prompts, n, max_tokens
        self.engine.submit(
            name,
            prompts=prompts,
            account=account,
            key=key,
            n=n,
            max_tokens=max_tokens,
            priority=priority,
            timeout_s=timeout_s,
        )

    @rule(steps=st.integers(1, 20))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.engine.step()

    @rule(seconds=st.floats(0, 4))
    def let_time_pass(self, seconds: float) -> None:
        self.engine.now += seconds

    @precondition(lambda self: self.requests)
    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        self.engine.submissions.cancel(f"r{number % len(self.requests)}")

    @precondition(lambda self: self.engine.running())
    @rule(number=st.integers(0, 99))
    def fail(self, number: int) -> None:
        """A fault in the text of one of those that run."""
        running = self.engine.scheduler._running
        sequence = running[number % len(running)].sequence

        def raise_for_text(_token: int, _logprob: object) -> Shown:
            raise RuntimeError("no text")

        sequence._transcript.push = raise_for_text  # type: ignore[method-assign]
        self.broken.add(running[number % len(running)].generation.id)

    @invariant()
    def memory_is_accounted_for(self) -> None:
        self.engine.scheduler.check([self.engine.model])

    @invariant()
    def nobody_ends_twice(self) -> None:
        for events in self.engine.listener.events.values():
            assert sum(isinstance(event, FINAL) for event in events) <= 1

    def teardown(self) -> None:
        self.engine.run(most_steps=3000)
        for name, (prompts, n, max_tokens) in self.requests.items():
            self._ended_as_it_should(name, prompts, n, max_tokens)
        assert not any(self.engine.submissions.ids())

    def _ended_as_it_should(self, name: str, prompts: list[str], n: int, max_tokens: int) -> None:
        events = self.engine.listener.events[name]
        final = self.engine.listener.final(name)
        assert sum(isinstance(event, Started) for event in events) <= 1
        for index in range(len(prompts) * n):
            text = "".join(event.text for event in events if isinstance(event, Text) and event.index == index)
            assert alone(prompts[index // n]).startswith(text)
        if isinstance(final, Finished) and final.reason == "length":
            assert final.completion_tokens == len(prompts) * n * max_tokens
        elif isinstance(final, Failed):
            waited_too_long = final.code == "rate_limit_exceeded"  # the admission's 30 s, of many short rests
            assert name in self.broken or "time limit" in final.message or waited_too_long
        else:
            assert final.reason == "cancelled"


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=int(os.environ.get("HELEXA_EXAMPLES", "25")),
    stateful_step_count=30,
)
