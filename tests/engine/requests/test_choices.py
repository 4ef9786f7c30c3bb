"""Several choices of one request: one prompt, answers of their own, one end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.engine import Engine
from inference.events import Ended, Event, Failed, Finished, Started, Text
from inference.requests import Sampling
from tests.engine.conftest import Listener, request_for
from tests.models import tiny_model

SEEDED = Sampling(temperature=1.0, top_p=0.95, seed=5)
PROMPT = "the river runs " * 60


def texts_of(events: list[Event], n: int) -> list[str]:
    return ["".join(e.text for e in events if isinstance(e, Text) and e.index == index) for index in range(n)]


def ends_of(events: list[Event]) -> dict[int, str]:
    """The reason of each choice; a second end of one would be a fault."""
    ended = [event for event in events if isinstance(event, Ended)]
    assert len({event.index for event in ended}) == len(ended)
    return {event.index: event.reason for event in ended}


def answer(engine: Engine, request_id: str, **fields: Any) -> list[Event]:
    return list(engine.stream(request_for(request_id, PROMPT, **fields)))


def test_it_works(engine: Engine) -> None:
    events = answer(engine, "one", n=2, max_tokens=20)
    started = events[0]
    assert isinstance(started, Started)
    assert sum(isinstance(event, Started) for event in events) == 1
    assert ends_of(events) == {0: "length", 1: "length"}
    assert events[-1] == Finished("length", started.prompt_tokens, 40)
    assert engine.running() == []


def test_counts_are_the_requests_total_and_only_rise(engine: Engine) -> None:
    events = answer(engine, "one", n=2, max_tokens=20, sampling=SEEDED)
    counts = [event.completion_tokens for event in events if isinstance(event, Text | Ended | Finished)]
    assert counts == sorted(counts)
    assert counts[-1] == 40


def test_nothing_of_a_choice_comes_after_its_end(engine: Engine) -> None:
    events = answer(engine, "one", n=2, max_tokens=20, sampling=SEEDED)
    for index in range(2):
        of_choice = [event for event in events if isinstance(event, Text | Ended) and event.index == index]
        assert [isinstance(event, Ended) for event in of_choice] == [False] * (len(of_choice) - 1) + [True]


@pytest.mark.parametrize("architecture", ["qwen3", "gemma3"])  # the second with layers that keep a window only
def test_greedy_choices_are_all_the_answer_of_one_alone(architecture: Any, tmp_path: Path) -> None:
    engine = Engine("cpu")
    # Of other seeds' models a few waver between two tokens, and a prompt that is remembered is rounded otherwise.
    engine.load("tiny", str(tiny_model(tmp_path / "m", architecture, eos=False, sliding_window=16, seed=1)))
    try:
        [alone] = texts_of(answer(engine, "alone", max_tokens=40), 1)
        assert texts_of(answer(engine, "three", n=3, max_tokens=40), 3) == [alone] * 3
    finally:
        engine.close()


def test_a_seed_sets_choices_apart_and_repeats_each(engine: Engine) -> None:
    first, again = (
        texts_of(answer(engine, name, n=3, max_tokens=30, sampling=SEEDED), 3) for name in ("first", "again")
    )
    assert len(set(first)) == 3
    assert again == first
    assert texts_of(answer(engine, "alone", max_tokens=30, sampling=SEEDED), 1) == first[:1]


def test_without_a_seed_choices_differ(engine: Engine) -> None:
    assert len(set(texts_of(answer(engine, "one", n=3, max_tokens=30, sampling=Sampling()), 3))) == 3


def test_the_prompt_is_read_once(engine: Engine) -> None:
    read: list[int] = []
    engine._models["tiny"].network.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    started = answer(engine, "one", n=4, max_tokens=6)[0]
    assert isinstance(started, Started)
    # The last token of an answer is not read; that of the prompt is by each choice that shares it.
    assert sum(read) == started.prompt_tokens + 4 * 5 + 3


def test_more_choices_than_places_all_come(engine: Engine) -> None:
    events = answer(engine, "one", n=7, max_tokens=5, sampling=SEEDED)  # the engine has two places
    assert sorted(ends_of(events)) == list(range(7))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.completion_tokens == 35


def test_a_choice_ends_by_itself_and_the_others_go_on(engine: Engine) -> None:
    whole = texts_of(answer(engine, "whole", n=3, max_tokens=60, sampling=SEEDED), 3)
    stop = next(part for at in range(60) if (part := whole[1][at : at + 8]) not in whole[0] + whole[2])
    events = answer(engine, "stopped", n=3, max_tokens=60, sampling=SEEDED, stop=[stop])
    assert ends_of(events) == {0: "length", 1: "stop", 2: "length"}
    assert texts_of(events, 3) == [whole[0], whole[1][: whole[1].index(stop)], whole[2]]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "length"
    assert 120 < finished.completion_tokens < 180


@pytest.mark.parametrize("n", [2, 3])  # the third waits for a place
def test_cancel_ends_every_choice_within_one_step(engine: Engine, listener: Listener, n: int) -> None:
    cancelled_at: list[int] = []

    def cancel(request_id: str, event: Event) -> None:
        if isinstance(event, Text) and event.completion_tokens >= 20 and not cancelled_at:
            cancelled_at.append(event.completion_tokens)
            assert engine.cancel(request_id)

    listener.at = cancel
    engine.submit(request_for("one", n=n, max_tokens=1500))
    final = listener.final("one")
    assert isinstance(final, Finished)
    assert final.reason == "cancelled"
    assert final.prompt_tokens > 0
    assert cancelled_at[0] <= final.completion_tokens <= cancelled_at[0] + 2
    assert ends_of(listener.events["one"]) == {}
    assert isinstance(list(engine.stream(request_for("after", max_tokens=3)))[-1], Finished)


def test_a_fault_in_one_choice_fails_the_request_once_with_what_was_made(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    prompt_tokens = answer(engine, "measure", max_tokens=1)[-1].prompt_tokens  # type: ignore[union-attr]

    def raise_after_the_tenth(_module: object, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["position_ids"].max() == prompt_tokens + 9:  # the first choice is a step ahead
            raise RuntimeError("shapes do not match")

    engine._models["tiny"].network.register_forward_pre_hook(raise_after_the_tenth, with_kwargs=True)
    events = answer(engine, "one", n=2, max_tokens=100)
    started, failed = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(failed, Failed)
    assert (failed.prompt_tokens, failed.completion_tokens) == (started.prompt_tokens, 10 + 9)
    assert ends_of(events) == {}
    engine.unload("nothing")  # returns when the step is over
    assert caplog.text.count("request one failed") == 1
