"""A request ends when its time is over, wherever it is, within a step and with one event."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.engine.model import LoadedModel
from inference.events import Failed, Finished, Started
from tests.engine.stepped import Stepped, loaded


@pytest.fixture(scope="module")
def model(endless: Path) -> LoadedModel:
    return loaded(endless)


@pytest.fixture
def engine(model: LoadedModel) -> Stepped:
    return Stepped(model, places=2)


def test_what_was_generated_until_then_is_counted(engine: Stepped) -> None:
    engine.submit("one", max_tokens=100, timeout_s=5)
    for _ in range(10):
        engine.step()
    engine.now = 5.0
    engine.step()
    started, failed = engine.listener.events["one"][0], engine.listener.final("one")
    assert isinstance(started, Started)
    assert isinstance(failed, Failed)
    assert failed.code is None
    assert "time limit" in failed.message
    assert (failed.prompt_tokens, failed.completion_tokens) == (started.prompt_tokens, 10)
    engine.run()


def test_one_that_still_waits_ends_too_and_counts_nothing(engine: Stepped) -> None:
    for name in ("a", "b"):
        engine.submit(name, max_tokens=50)
    engine.submit("late", max_tokens=50, timeout_s=1)
    engine.step()
    engine.now = 1.5
    engine.step()
    failed = engine.listener.final("late")
    assert isinstance(failed, Failed)
    assert (failed.prompt_tokens, failed.completion_tokens) == (0, 0)
    engine.run()
    assert isinstance(engine.listener.final("a"), Finished)


def test_one_that_ends_in_time_is_left_alone(engine: Stepped) -> None:
    engine.submit("one", max_tokens=5, timeout_s=1)
    engine.run()
    engine.now = 10.0
    engine.answer("two", max_tokens=5)
    assert isinstance(engine.listener.final("one"), Finished)


def test_time_counts_from_submission(engine: Stepped) -> None:
    engine.now = 100.0
    engine.submit("one", max_tokens=5, timeout_s=1)
    engine.now = 101.0
    engine.step()
    assert isinstance(engine.listener.final("one"), Failed)
