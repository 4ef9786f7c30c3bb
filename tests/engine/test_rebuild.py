"""A device that breaks: who had begun is told, who had not waits and is served by the thread that takes over."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from inference.engine import Engine
from inference.engine.loading.loaded_models import LoadedModels
from inference.engine.scheduling.stepping import Stepping
from inference.events import Event, Failed, Finished, Started, Text
from inference.policies import AdmissionPolicy
from tests.engine.conftest import WAIT_S, Listener, request_for, text_of

LONG_PROMPT = "the river runs " * 160
BROKEN = RuntimeError("CUDA error: an illegal memory access was encountered")


def break_at_long_prompts(engine: Engine) -> None:
    """The network that is loaded now breaks the device with them; the one that is loaded again does not."""

    def refuse(_module: object, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].shape[1] > 300:
            raise BROKEN

    engine._models["tiny"].network.register_forward_pre_hook(refuse, with_kwargs=True)


def break_beside(engine: Engine, listener: Listener, *waiting: str) -> None:
    """Break the device by `fatal` while `beside` decodes and others wait for one of the two places."""
    break_at_long_prompts(engine)
    submitted: list[str] = []

    def submit(request_id: str, event: Event) -> None:
        if isinstance(event, Text) and not submitted:
            submitted.extend(["fatal", *waiting])
            engine.submit(request_for("fatal", LONG_PROMPT, max_tokens=30))
            for name in waiting:
                engine.submit(request_for(name, n=2, max_tokens=20))

    listener.at = submit
    engine.submit(request_for("beside", max_tokens=1500))


def test_who_had_not_begun_is_served_in_the_same_attempt(engine: Engine, listener: Listener) -> None:
    alone = text_of(list(engine.stream(request_for("alone", max_tokens=20))))
    break_beside(engine, listener, "w1", "w2", "w3")
    for name in ("w1", "w2", "w3"):
        final = listener.final(name)
        assert isinstance(final, Finished)
        assert final.completion_tokens == 40
        assert sum(isinstance(event, Started) for event in listener.events[name]) == 1
        first = [event.text for event in listener.events[name] if isinstance(event, Text) and event.index == 0]
        assert "".join(first) == alone
    engine.check()
    assert engine.running() == []


def test_who_had_begun_may_be_sent_again_if_nothing_of_it_had_left(engine: Engine, listener: Listener) -> None:
    break_beside(engine, listener)
    beside, fatal = listener.final("beside"), listener.final("fatal")
    assert isinstance(beside, Failed)
    assert isinstance(fatal, Failed)
    assert (beside.code, fatal.code) == ("service_unavailable", "service_unavailable")
    assert listener.text("beside")
    assert (beside.retry_after_s, fatal.retry_after_s) == (None, 5)


def test_who_comes_while_the_model_is_loaded_again_waits_for_it(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, may_load = threading.Event(), threading.Event()
    ready_runner = LoadedModels._ready_runner

    def wait_and_load(*args: Any) -> Any:
        loading.set()
        assert may_load.wait(WAIT_S)
        return ready_runner(*args)

    monkeypatch.setattr(LoadedModels, "_ready_runner", wait_and_load)
    break_beside(engine, listener, "cancelled")
    assert loading.wait(WAIT_S)
    engine.submit(request_for("meanwhile", max_tokens=5))
    assert sorted(engine.running()) == ["cancelled", "meanwhile"]
    assert engine.cancel("cancelled")
    may_load.set()
    assert isinstance(listener.final("meanwhile"), Finished)
    assert listener.final("cancelled") == Finished("cancelled", 0, 0)


def test_where_the_model_does_not_come_back_those_that_waited_are_told(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any) -> None:
        raise OSError("the weights are gone")

    monkeypatch.setattr(LoadedModels, "_ready_runner", refuse)
    break_beside(engine, listener, "waiting")
    final = listener.final("waiting")
    assert isinstance(final, Failed)
    assert (final.code, final.retry_after_s) == ("service_unavailable", 5)
    assert engine.models() == []


def test_a_device_that_cannot_be_given_up_in_order_is_replaced_all_the_same(
    endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=2, max_queue_depth=1000))
    engine.load("tiny", str(endless))

    def refuse(*_args: Any) -> None:
        raise RuntimeError("no end")

    with monkeypatch.context() as patch:
        patch.setattr(Stepping, "end_begun", refuse)
        break_beside(engine, listener, "waiting")
        assert isinstance(listener.final("waiting"), Finished)
    for name in ("beside", "fatal"):
        assert isinstance(listener.final(name), Failed)
    engine.close()
