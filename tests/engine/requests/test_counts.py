"""Requests that only ask how many tokens their prompt has."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from inference.engine import Engine
from inference.events import Event, Failed, Finished, Started
from inference.policies import AdmissionPolicy
from inference.requests import Tool, ToolUse
from tests.engine.conftest import Listener, request_for


def answer(engine: Engine, request_id: str, **fields: Any) -> list[Event]:
    return list(engine.stream(request_for(request_id, **fields)))


@pytest.mark.parametrize(
    "fields",
    [{}, {"tool_use": ToolUse(tools=[Tool("clock")])}, {"prompts": ["Who?", [1, 2, 3]]}, {"template_kwargs": {"a": 1}}],
)
def test_a_count_is_what_the_same_request_starts_with(engine: Engine, fields: dict[str, Any]) -> None:
    started = answer(engine, "real", max_tokens=1, **fields)[0]
    assert isinstance(started, Started)
    assert answer(engine, "count", only_count=True, **fields) == [Finished("stop", started.prompt_tokens, 0)]


def test_a_count_needs_no_grant_and_no_room_in_the_context(engine: Engine) -> None:
    (refused,) = answer(engine, "real", content="the river " * 3000)
    assert isinstance(refused, Failed)
    (counted,) = answer(engine, "count", content="the river " * 3000, only_count=True, granted=0)
    assert counted == Finished("stop", int(refused.diagnostics["prompt_len"]), 0)


def test_a_count_waits_for_no_device(engine: Engine) -> None:
    device_is_free = threading.Event()
    busy = threading.Thread(target=lambda: engine._owner.call(lambda: device_is_free.wait(60)))
    busy.start()
    try:
        assert isinstance(answer(engine, "count", only_count=True)[-1], Finished)
        assert busy.is_alive()
    finally:
        device_is_free.set()
        busy.join()
    assert engine.running() == []


def test_what_no_prompt_can_be_made_of_cannot_be_counted(engine: Engine) -> None:
    (refused,) = answer(engine, "count", only_count=True, prompts=[[10_000]])
    assert isinstance(refused, Failed)
    assert refused.param == "prompt"
    (refused,) = answer(engine, "elsewhere", only_count=True, model="other")
    assert isinstance(refused, Failed)
    assert refused.code == "service_unavailable"


def test_counts_that_pile_up_are_turned_away_or_cancelled(
    endless: Any, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_queue_depth=2))
    engine.load("tiny", str(endless))
    prompts, go_on, looked_at = engine._models["tiny"].prompts, threading.Event(), threading.Event()
    of = prompts.of

    def wait(request: Any, **options: Any) -> Any:
        looked_at.set()
        assert go_on.wait(60)
        return of(request, **options)

    monkeypatch.setattr(prompts, "of", wait)
    try:
        for name in ("first", "second", "third"):
            engine.submit(request_for(name, only_count=True))
        refused = listener.final("third")
        assert isinstance(refused, Failed)
        assert (refused.code, refused.status) == ("rate_limit_exceeded", 503)
        assert refused.retry_after_s
        assert looked_at.wait(60)
        assert engine.cancel("second")
        assert listener.final("second") == Finished("cancelled", 0, 0)
        go_on.set()
        counted = listener.final("first")
        assert isinstance(counted, Finished)
        assert counted.prompt_tokens > 0
    finally:
        go_on.set()
        engine.close()
