"""A model takes on so many requests and no more, and says when to come again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.engine import Engine
from inference.events import Failed, Finished, Started
from inference.policies import AdmissionPolicy
from tests.engine.conftest import Listener, request_for

ENDLESS = 1500


@pytest.fixture
def engine(endless: Path, listener: Listener, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One place; the policy comes from the test."""
    engine = Engine("cpu", publish=listener, admission=request.param, proves_when_idle=True)
    engine.load("tiny", str(endless))
    yield engine
    engine.close()


def with_policy(**fields: object) -> pytest.MarkDecorator:
    policy = AdmissionPolicy(max_in_flight=1, **fields)  # type: ignore[arg-type]
    return pytest.mark.parametrize("engine", [policy], indirect=True)


def begin(engine: Engine, listener: Listener, name: str, **fields: object) -> None:
    """Submit a request that goes on for long, and wait until it has begun."""
    begun = threading.Event()
    listener.at = lambda id_, event: begun.set() if id_ == name and isinstance(event, Started) else None
    engine.submit(request_for(name, max_tokens=ENDLESS, **fields))
    assert begun.wait(60)


def refusal(listener: Listener, name: str) -> Failed:
    final = listener.final(name)
    assert isinstance(final, Failed)
    return final


@with_policy(max_queue_depth=2)
def test_a_full_queue_is_told_with_the_time_to_come_again(engine: Engine, listener: Listener) -> None:
    begin(engine, listener, "runs")
    for name in ("waits 1", "waits 2", "one too many"):
        engine.submit(request_for(name, max_tokens=1))
    refused = refusal(listener, "one too many")
    assert (refused.code, refused.status, refused.retry_after_s) == ("rate_limit_exceeded", 503, 6)
    assert refused.message == "2 requests wait for this model already."
    engine.cancel("runs")
    for name in ("waits 1", "waits 2"):
        assert isinstance(listener.final(name), Finished)
    engine.submit(request_for("afterwards", max_tokens=1))
    assert isinstance(listener.final("afterwards"), Finished)


@with_policy(max_wait_s=0.2)
def test_who_waits_too_long_is_told(engine: Engine, listener: Listener) -> None:
    begin(engine, listener, "runs", account="a")
    engine.submit(request_for("waits", max_tokens=1, account="a"))
    refused = refusal(listener, "waits")
    assert (refused.code, refused.status, refused.retry_after_s) == ("rate_limit_exceeded", 503, 4)
    assert refused.message == "The request waited 0.2 s for its turn; too much is going on."
    assert (refused.prompt_tokens, refused.completion_tokens) == (0, 0)
    engine.cancel("runs")
    assert isinstance(listener.final("runs"), Finished)


@with_policy(max_per_principal=1)
def test_a_key_over_its_share_is_told_and_others_wait(engine: Engine, listener: Listener) -> None:
    begin(engine, listener, "runs", account="a", key="1")
    engine.submit(request_for("same key", account="a", key="1"))
    refused = refusal(listener, "same key")
    assert (refused.code, refused.status, refused.retry_after_s) == ("rate_limit_exceeded", 429, 2)
    waiting = {"other key": ("a", "2"), "nobody": (None, None), "nobody again": (None, None)}
    for name, (account, key) in waiting.items():
        engine.submit(request_for(name, max_tokens=1, account=account, key=key))
    engine.cancel("runs")
    for name in waiting:
        assert isinstance(listener.final(name), Finished)


@with_policy(min_free_mb=10**9)
def test_without_free_memory_a_prompt_is_refused_before_it_is_read(engine: Engine, listener: Listener) -> None:
    engine.submit(request_for("one"))
    refused = refusal(listener, "one")
    assert (refused.code, refused.retry_after_s) == ("insufficient_vram", 5)
    assert refused.diagnostics["required_mb"] == 10**9
    assert 0 < int(refused.diagnostics["free_mb"]) < 10**9
    assert refused.prompt_tokens == 0
