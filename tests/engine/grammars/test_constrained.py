"""Requests with a grammar: admitted off the caller's thread, kept to in any batch, ended when complete."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.grammars import grammar
from inference.engine.grammars.grammar import Constraint
from inference.engine.loading import weights
from inference.events import FINAL, Event, Failed, Finished, Started, Text
from inference.grammars import Grammar, JsonObject, JsonSchema, Lark, Regex
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest, Sampling
from tests.engine.conftest import WAIT_S, Listener, request_for, text_of
from tests.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
CLOSING = {TOKENIZER.convert_tokens_to_ids(text): 14.0 for text in '"]}'}
SAMPLED = Sampling(seed=3, logit_bias=CLOSING)
COLOURS = Regex("(red|green|blue)(, (red|green|blue)){20}")
POINT = json.dumps(
    {
        "type": "object",
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}, "tag": {"enum": ["ü", "b"]}},
        "required": ["x", "tag"],
        "additionalProperties": False,
    }
)


def asked(request_id: str, grammar: Grammar | None, **fields: Any) -> GenerationRequest:
    return request_for(request_id, sampling=SAMPLED, grammar=grammar, **{"max_tokens": 300, **fields})


def answer(engine: Engine, request_id: str, grammar: Grammar | None, **fields: Any) -> list[Event]:
    return list(engine.stream(asked(request_id, grammar, **fields)))


@pytest.fixture
def narrow(endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Eight places and memory for about three requests; in float32, as what is read again differs in its last bits."""
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=8), kv_tokens=320)
    engine.load("tiny", str(endless))
    yield engine
    engine.close()


@pytest.fixture
def slow_masks(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every mask after the first waits for the event."""
    go_on, mask = threading.Event(), Constraint._mask

    def slowly(constraint: Constraint, *after: int) -> torch.Tensor:
        if after:
            go_on.wait()
        return mask(constraint, *after)

    monkeypatch.setattr(Constraint, "_mask", slowly)
    yield go_on
    go_on.set()


def test_a_schema_is_kept_to_and_ends_the_answer(engine: Engine) -> None:
    """Also of a model that has no end token."""
    events = answer(engine, "one", JsonSchema(POINT, strict=True))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"
    point = json.loads(text_of(events))
    assert point["x"] in range(10)
    assert point["tag"] in {"ü", "b"}


def test_every_kind_of_grammar(engine: Engine) -> None:
    assert isinstance(json.loads(text_of(answer(engine, "object", JsonObject()))), dict)
    assert text_of(answer(engine, "lark", Lark('start: "a" "b"~2 | "c"'))) in {"abb", "c"}
    assert set(text_of(answer(engine, "regex", COLOURS)).split(", ")) <= {"red", "green", "blue"}


def test_a_complete_grammar_ends_also_where_end_tokens_are_ignored(engine: Engine) -> None:
    events = answer(engine, "one", Regex("abc"), ignore_eos=True)
    assert text_of(events) == "abc"
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].completion_tokens <= 4) == ("stop", True)


def test_every_choice_keeps_to_it(engine: Engine) -> None:
    events = answer(engine, "one", COLOURS, n=5)
    texts = ["".join(e.text for e in events if isinstance(e, Text) and e.index == index) for index in range(5)]
    assert all(set(text.split(", ")) <= {"red", "green", "blue"} for text in texts)
    assert len(set(texts)) > 1


def test_an_answer_is_the_same_after_it_gave_way(narrow: Engine, listener: Listener) -> None:
    """What it has to read again it does not say to its grammar again."""
    alone = text_of(answer(narrow, "alone", COLOURS))
    names = [f"r{number}" for number in range(6)]
    for name in names:
        narrow.submit(asked(name, COLOURS))
        narrow.submit(asked(f"{name} beside", None, max_tokens=100))
    for name in names:
        final = listener.final(name)
        assert isinstance(final, Finished)
        assert final.reason == "stop"
        assert listener.text(name) == alone
        listener.final(f"{name} beside")


@pytest.mark.parametrize(
    ("kept_to", "param", "named"),
    [
        (JsonSchema('{"type": "objekt"}'), "response_format", "objekt"),
        (JsonSchema('{"type": "integer", "not": {"const": 2}}', strict=True), "response_format", "not"),
        (Regex("("), "grammar", "grammar"),
    ],
)
def test_a_grammar_that_is_none_is_refused_before_the_queue(
    engine: Engine, kept_to: Grammar, param: str, named: str
) -> None:
    (refused,) = answer(engine, "one", kept_to)
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param, refused.prompt_tokens) == ("invalid_value", param, 0)
    assert named in refused.message
    assert engine.running() == []


def test_a_grammar_that_breaks_fails_its_request_alone(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an answer: it never goes on without."""
    unpacked, seen = grammar._unpacked, [0]
    alone = text_of(answer(engine, "alone", None, max_tokens=60))

    def break_at_the_fifth(bits: bytes, vocabulary: int) -> torch.Tensor:
        seen[0] += 1
        if seen[0] == 5:
            raise MemoryError
        return unpacked(bits, vocabulary)

    monkeypatch.setattr(grammar, "_unpacked", break_at_the_fifth)
    engine.submit(asked("broken", COLOURS))
    engine.submit(asked("beside", None, max_tokens=60))
    failed = listener.final("broken")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("invalid_value", "grammar")
    assert failed.completion_tokens > 0
    assert failed.prompt_tokens > 0
    assert isinstance(listener.final("beside"), Finished)
    assert listener.text("beside") == alone


def test_others_go_on_while_a_mask_takes_long_and_cancel_does_not_wait_for_it(
    engine: Engine, listener: Listener, slow_masks: threading.Event
) -> None:
    engine.submit(asked("slow", COLOURS))
    engine.submit(asked("beside", None, max_tokens=200))
    beside = listener.final("beside")
    assert isinstance(beside, Finished)
    assert (beside.reason, beside.completion_tokens) == ("length", 200)
    assert "slow" in engine.running()
    assert len([e for e in listener.events["slow"] if isinstance(e, Text)]) <= 1
    assert engine.cancel("slow")
    final = listener.final("slow")
    assert isinstance(final, Finished)
    assert (final.reason, final.completion_tokens) == ("cancelled", 1)


def test_an_engine_that_waits_for_a_mask_alone_takes_no_steps_and_goes_on_with_it(
    engine: Engine, listener: Listener, slow_masks: threading.Event
) -> None:
    first = threading.Event()
    listener.at = lambda _id, event: first.set() if isinstance(event, Started) else None
    engine.submit(asked("slow", COLOURS))
    assert first.wait(WAIT_S)
    while engine._owner.call(lambda: [place.sequence.late for place in engine._scheduler._running]) != [True]:
        pass
    engine._owner.call(lambda: None)  # the step after the one that found it late, if there is one, is over as well
    steps = engine.step
    assert not threading.Event().wait(0.2)
    assert engine.step <= steps + 1
    slow_masks.set()
    assert isinstance(listener.final("slow"), Finished)
    assert len(listener.text("slow").split(", ")) == 21


def test_submit_returns_while_a_grammar_compiles_and_cancel_ends_it_there(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, compile_now = threading.Event(), threading.Event(), grammar._compile

    def slowly(*arguments: Any) -> Any:
        began.set()
        go_on.wait()
        return compile_now(*arguments)

    monkeypatch.setattr(grammar, "_compile", slowly)
    try:
        for name in ("first", "second", "third"):
            engine.submit(asked(name, COLOURS, account="a"))
        assert began.wait(WAIT_S)
        engine.submit(asked("plain", None, max_tokens=5, account="a"))
        assert isinstance(listener.final("plain"), Finished)
        assert engine.cancel("second")
        assert listener.final("second") == Finished("cancelled", 0, 0)
        assert not engine.cancel("second")
    finally:
        go_on.set()
    for name in ("first", "third"):
        assert isinstance(listener.final(name), Finished)
    assert sum(isinstance(event, FINAL) for event in listener.events["second"]) == 1


def test_who_waits_too_long_to_be_compiled_is_told(
    endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, compile_now = threading.Event(), threading.Event(), grammar._compile
    now = [0.0]

    def slowly(*arguments: Any) -> Any:
        began.set()
        go_on.wait()
        return compile_now(*arguments)

    monkeypatch.setattr(grammar, "_compile", slowly)
    engine = Engine("cpu", publish=listener, clock=lambda: now[0], admission=AdmissionPolicy(max_wait_s=30))
    try:
        engine.load("tiny", str(endless))
        for name, timeout_s in (("first", None), ("hurried", 10.0), ("patient", None)):
            engine.submit(asked(name, COLOURS, account="a", timeout_s=timeout_s))
        assert began.wait(WAIT_S)
        now[0] = 31.0
        engine.submit(asked("new", COLOURS, account="a"))
        go_on.set()
        hurried, patient = listener.final("hurried"), listener.final("patient")
        assert isinstance(hurried, Failed)
        assert "time limit" in hurried.message
        assert isinstance(patient, Failed)
        assert (patient.code, patient.status) == ("rate_limit_exceeded", 503)
        assert isinstance(listener.final("new"), Finished)
    finally:
        go_on.set()
        engine.close()


def test_closing_ends_those_that_compile(engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(grammar, "_compile", lambda *_: (began.set(), go_on.wait()))
    try:
        engine.submit(asked("one", COLOURS))
        assert began.wait(WAIT_S)
        engine.close()
        final = listener.final("one")
        assert isinstance(final, Failed)
        assert final.code == "service_unavailable"
    finally:
        go_on.set()
