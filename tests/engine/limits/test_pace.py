"""Prompts take so much of a step as those that decode can wait for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.engine.limits.pace import LEAST_TOKENS, MOST_TOKENS, UNMEASURED_TOKENS, Pace
from tests.engine.stepped import Stepped, loaded


def test_until_something_is_measured_it_is_a_fixed_number() -> None:
    pace = Pace()
    pace.measured(0.03, prompt_tokens=0, decodes=4)
    assert pace.tokens(beside_decodes=True) == UNMEASURED_TOKENS


def test_a_step_takes_a_tenth_of_a_second_longer_for_the_prompts_in_it() -> None:
    pace = Pace()
    pace.measured(0.05, prompt_tokens=0, decodes=4)
    pace.measured(0.05 + 0.5, prompt_tokens=500, decodes=4)  # 1,000 tokens a second
    assert pace.tokens(beside_decodes=True) == 100
    assert pace.tokens(beside_decodes=False) == 400


def test_it_follows_a_device_that_becomes_slower() -> None:
    pace = Pace()
    pace.measured(0.1, prompt_tokens=100, decodes=0)
    before = pace.tokens(beside_decodes=True)
    for _ in range(20):
        pace.measured(0.4, prompt_tokens=100, decodes=0)
    assert before == 100
    assert pace.tokens(beside_decodes=False) == pytest.approx(100, abs=2)


@pytest.mark.parametrize(("seconds", "tokens"), [(60.0, LEAST_TOKENS), (0.0, MOST_TOKENS)])
def test_there_is_a_least_and_a_most(seconds: float, tokens: int) -> None:
    pace = Pace()
    pace.measured(seconds, prompt_tokens=500, decodes=0)
    assert pace.tokens(beside_decodes=True) == tokens


def test_a_few_tokens_say_nothing() -> None:
    pace = Pace()
    pace.measured(10.0, prompt_tokens=3, decodes=0)
    assert pace.tokens(beside_decodes=True) == UNMEASURED_TOKENS


def test_chunks_become_as_small_as_the_clock_says(endless: Path) -> None:
    engine = Stepped(loaded(endless))

    def take_a_millisecond_for_each_token(_module: object, _args: object, kwargs: dict[str, Any]) -> None:
        engine.now += 0.001 * kwargs["input_ids"].shape[1]

    engine.model.network.register_forward_pre_hook(take_a_millisecond_for_each_token, with_kwargs=True)
    engine.submit("decodes", max_tokens=60)
    engine.step(), engine.step()
    engine.submit("reads", "the river runs " * 250, max_tokens=2)
    engine.run()
    reads = [tokens for tokens in engine.computed[2:] if tokens > 2]
    assert reads[0] == UNMEASURED_TOKENS  # with the row that decodes
    assert len(reads) > 5
    assert {*reads[1:-1]} == {96}  # 100 ms and the row that decodes, cut to a number of rows that recurs
