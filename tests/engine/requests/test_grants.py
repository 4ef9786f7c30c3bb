"""No token beyond the grant: what may need more is refused before its prompt is read, and nothing samples past it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference import grants
from inference.engine import Engine
from inference.events import Ended, Failed, Finished, Started
from tests.engine.conftest import request_for
from tests.models import tiny_model


@pytest.fixture
def prompt_tokens(engine: Engine) -> int:
    """What the prompt of `request_for` comes to; asked by an account of its own, so that nobody finds it in memory."""
    started = next(engine.stream(request_for("measure", max_tokens=1, account="measure")))
    assert isinstance(started, Started)
    return started.prompt_tokens


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose check at submission is gone, so that only the hard stop is left."""
    monkeypatch.setattr(grants, "refusal", lambda *_args, **_fields: None)


@pytest.mark.parametrize("n", [1, 3])
def test_a_request_that_fits_its_grant_exactly_runs_to_its_bound(engine: Engine, prompt_tokens: int, n: int) -> None:
    request = request_for("one", n=n, max_tokens=10, granted=prompt_tokens + 10 * n)
    assert list(engine.stream(request))[-1] == Finished("length", prompt_tokens, 10 * n)


@pytest.mark.parametrize("n", [1, 3])
def test_the_grant_check_refuses_one_token_too_many_with_the_exact_numbers(
    engine: Engine, prompt_tokens: int, n: int
) -> None:
    (refused,) = engine.stream(request_for("one", n=n, max_tokens=10, granted=prompt_tokens + 10 * n - 1))
    assert isinstance(refused, Failed)
    assert refused.code == "grant_exceeded"
    assert refused.diagnostics == {"prompt_tokens": prompt_tokens, "bound": 10}
    assert (refused.prompt_tokens, refused.completion_tokens) == (0, 0)


def test_the_grant_check_needs_no_more_than_the_context_leaves(tmp_path: Path) -> None:
    engine = Engine("cpu")
    engine.load("tiny", str(tiny_model(tmp_path / "m", eos=False, max_position_embeddings=64)))
    try:
        (refused,) = engine.stream(request_for("one", n=2, max_tokens=1000, granted=1))
        assert isinstance(refused, Failed)
        prompt_tokens, bound = refused.diagnostics["prompt_tokens"], refused.diagnostics["bound"]
        assert isinstance(prompt_tokens, int)
        assert bound == 64 - prompt_tokens
        granted = prompt_tokens + 2 * bound
        events = list(engine.stream(request_for("again", n=2, max_tokens=1000, granted=granted)))
        assert events[-1] == Finished("length", prompt_tokens, 2 * bound)
        (refused,) = engine.stream(request_for("long", "the river " * 30, max_tokens=1000, granted=1))
        assert isinstance(refused, Failed)
        assert refused.code == "context_length_exceeded"
    finally:
        engine.close()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("n", "left", "made"), [(1, 7, 7), (3, 11, 9), (3, 2, 0), (1, 0, 0), (2, -5, 0)])
def test_the_hard_stop_samples_nothing_past_the_grant_where_nothing_was_checked(
    engine: Engine, prompt_tokens: int, n: int, left: int, made: int
) -> None:
    events = list(engine.stream(request_for("one", n=n, max_tokens=50, granted=prompt_tokens + left)))
    assert events[-1] == Finished("length", prompt_tokens, made)
    assert [event.reason for event in events if isinstance(event, Ended)] == ["length"] * n
