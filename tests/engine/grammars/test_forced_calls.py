"""Calls that keep to a grammar: forced, limited or strict, in each family's form, after what was thought."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from inference.engine import Engine
from inference.events import CallArguments, CallBegun, Failed, Finished, Reasoning, Started, Text
from inference.grammars import JsonObject, JsonSchema, Regex
from inference.requests import Sampling, Tool, ToolUse
from tests.engine.answers.test_tool_calls import answer, end_of, told
from tests.engine.conftest import request_for
from tests.engine.scripted import HERMES, LLAMA, MISTRAL, scripted_model

POINT = json.dumps(
    {
        "type": "object",
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}, "tag": {"enum": ["ü", "</tool_call>"]}},
        "required": ["x", "tag"],
        "additionalProperties": False,
    }
)
MOVE, REST = Tool("move", parameters=POINT), Tool('odd "rest"', parameters=POINT)
QWEN = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
XML = "<tool_call> <function="
GEMMA = "<|tool_call>"
FAMILIES = [
    (HERMES, QWEN),
    (HERMES, []),
    (XML, QWEN),
    (LLAMA, ["<|python_tag|>"]),
    (MISTRAL, ["[TOOL_CALLS]", "[ARGS]"]),
    (MISTRAL, ["[TOOL_CALLS]"]),
    (MISTRAL, []),
    (GEMMA, ["<|tool_call>", "<tool_call|>", '<|"|>']),
]

Load = Callable[..., Engine]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    engine = Engine("cpu", proves_when_idle=True)

    def load(script: Sequence[str] = (), **options: Any) -> Engine:
        engine.load("tiny", str(scripted_model(tmp_path / "model", script, **options)))
        return engine

    yield load
    engine.check()
    engine.close()


def sampled(engine: Engine, *, seed: int = 0, closing: float = 5.0, **fields: Any) -> list[Any]:
    """An answer of random tokens without a thought; those that close something, and the end, are likelier."""
    bias = biased(engine, '"', "]", "}", "<|im_end|>", by=closing) | biased(engine, "<think>", by=-100.0)
    return answer(engine, sampling=Sampling(seed=seed, logit_bias=bias), **{"max_tokens": 400, **fields})


def biased(engine: Engine, *texts: str, by: float) -> dict[int, float]:
    ids = [engine._models["tiny"].tokenizer.token_to_id(text) for text in texts]
    return {token: by for token in ids if token is not None}


def assert_point(arguments: str) -> None:
    point = json.loads(arguments)
    assert point["x"] in range(10)
    assert point["tag"] in {"ü", "</tool_call>"}


@pytest.mark.parametrize(("family", "markers"), FAMILIES)
def test_a_call_that_is_required_is_made_in_every_family(load: Load, family: str, markers: list[str]) -> None:
    engine = load(family=family, markers=markers)
    names = set()
    for seed in range(4):
        events = sampled(engine, seed=seed, tool_use=ToolUse(tools=[MOVE, REST], choice="required", parallel=False))
        [(kind, name, arguments)] = told(events)
        assert kind == "call"
        assert_point(arguments)
        assert " " not in arguments
        assert end_of(events)[0].reason == "tool_calls"
        names.add(name)
    assert names <= {"move", 'odd "rest"'}


def test_one_of_the_tools_alone_can_be_required(load: Load) -> None:
    engine = load(markers=QWEN)
    use = ToolUse(tools=[MOVE, REST], choice="required", only=['odd "rest"'])
    calls = told(sampled(engine, tool_use=use))
    assert {name for _, name, _ in calls} == {'odd "rest"'}


@pytest.mark.parametrize(
    ("family", "markers"), [(HERMES, QWEN), (HERMES, []), (MISTRAL, ["[TOOL_CALLS]", "[ARGS]"]), (MISTRAL, [])]
)
def test_several_calls_are_made_where_they_may_be(load: Load, family: str, markers: list[str]) -> None:
    engine = load(family=family, markers=markers)
    use = ToolUse(tools=[MOVE], choice="required")
    counts = set()
    for seed in range(6):
        events = sampled(engine, seed=seed, closing=0.0, tool_use=use)
        if end_of(events)[0].reason == "tool_calls":
            counts.add(len(told(events)))
            assert {kind for kind, *_ in told(events)} == {"call"}
    assert max(counts) > 1


def test_arguments_stream_as_they_are_written(load: Load) -> None:
    events = sampled(load(markers=QWEN), tool_use=ToolUse(tools=[MOVE], choice="required", parallel=False))
    [begun] = [event for event in events if isinstance(event, CallBegun)]
    pieces = [event for event in events if isinstance(event, CallArguments)]
    assert len(pieces) > 5
    assert begun.completion_tokens < pieces[0].completion_tokens < pieces[-1].completion_tokens


def test_a_forced_call_that_is_cut_stays_one(load: Load) -> None:
    engine = load(markers=QWEN)
    use = ToolUse(tools=[MOVE], choice="required")
    whole = told(sampled(engine, tool_use=use))[0][2]
    events = sampled(engine, tool_use=use, max_tokens=45)
    [(kind, name, arguments)] = told(events)
    assert (kind, name) == ("call", "move")
    assert whole.startswith(arguments)
    assert len(arguments) < len(whole)
    assert end_of(events)[0].reason == "length"


@pytest.mark.parametrize(("family", "markers"), FAMILIES)
def test_a_named_call_is_one_wherever_it_is_cut(load: Load, family: str, markers: list[str]) -> None:
    engine = load(family=family, markers=markers)
    use = ToolUse(tools=[MOVE, REST], choice="required", only=["move"])
    for tokens in (1, 4, 15, 30):
        events = sampled(engine, tool_use=use, max_tokens=tokens)
        assert [(kind, *rest[:1]) for kind, *rest in told(events)] == [("call", "move")]
        assert end_of(events)[0].reason == "length"


def test_a_call_of_one_of_several_tools_that_is_cut_before_its_name_leaves_no_markup(load: Load) -> None:
    events = sampled(load(), tool_use=ToolUse(tools=[MOVE, REST], choice="required"), max_tokens=15)
    assert told(events) == []
    assert end_of(events)[0].reason == "length"


def test_what_is_thought_comes_first_and_the_call_keeps_to_its_grammar(load: Load) -> None:
    script = ["<think>", "hm", "</think>"]
    use = ToolUse(tools=[MOVE], choice="required", parallel=False)
    events = answer(load(script, markers=QWEN[2:]), sampling=Sampling(seed=1), tool_use=use, max_tokens=400)
    reasoning, (kind, name, arguments) = told(events)
    assert reasoning == ("reasoning", "hm")
    assert (kind, name) == ("call", "move")
    assert_point(arguments)
    assert end_of(events)[1].reasoning_tokens == 3


@pytest.mark.parametrize(
    ("script", "markers", "opening"),
    [
        (["<think>", "hm", "</think>"], [], ""),
        (["hm", "</think>"], ["<think>"], "<think>"),
        (["hm", "</thi", "nk>\n\na"], [], "<think>"),
        (["hm<", "/think>"], [], "<think>"),
    ],
)
def test_a_format_is_kept_to_after_what_was_thought(
    load: Load, script: list[str], markers: list[str], opening: str
) -> None:
    """Also by what the token that ends reasoning says behind it."""
    engine = load(script, markers=markers, opening=opening)
    for seed in range(4):
        events = answer(engine, sampling=Sampling(seed=seed), grammar=Regex("[ab]{4}"), max_tokens=40)
        reasoning, (kind, text) = told(events)
        assert reasoning == ("reasoning", "hm")
        assert kind == "text"
        assert len(text) == 4
        assert set(text) <= set("ab")
        assert end_of(events)[0].reason == "stop"


def test_a_model_that_does_not_begin_to_think_keeps_to_its_grammar_at_once(load: Load) -> None:
    engine = load(markers=QWEN)
    for seed in range(4):
        [(kind, text)] = told(sampled(engine, seed=seed, grammar=Regex("[ab]{4}")))
        assert (kind, len(text)) == ("text", 4)


def test_reasoning_that_fills_the_answer_is_no_fault(load: Load) -> None:
    engine = load(["hm", "so"], markers=QWEN, opening="<think>")
    events = answer(engine, grammar=JsonObject(), max_tokens=2)
    assert told(events) == [("reasoning", "hmso")]
    assert end_of(events)[0].reason == "length"


@pytest.mark.parametrize(("family", "markers"), FAMILIES)
def test_a_strict_tool_that_need_not_be_called_keeps_to_its_schema(load: Load, family: str, markers: list[str]) -> None:
    engine = load(family=family, markers=markers)
    begin = engine._models["tiny"].family.calls.begin
    strict = Tool("move", parameters=POINT, strict=True)
    calls, texts = 0, 0
    for seed in range(6):
        bias = biased(engine, begin.text, by=8.0 * (seed % 2)) | biased(engine, "<think>", by=-100.0)
        events = answer(
            engine,
            sampling=Sampling(seed=seed, logit_bias=bias),
            tool_use=ToolUse(tools=[strict], parallel=False),
            max_tokens=150,
        )
        for kind, *rest in told(events):
            texts += kind == "text"
            if kind == "call" and end_of(events)[0].reason == "tool_calls":
                calls += 1
                assert_point(rest[1])
    assert texts
    assert calls or begin.token is None or family == LLAMA


def test_tools_beside_a_format_are_calls_or_the_format(load: Load) -> None:
    engine = load(markers=QWEN)
    kinds = set()
    for seed in range(12):
        events = sampled(engine, seed=seed, tool_use=ToolUse(tools=[MOVE], parallel=False), grammar=JsonSchema(POINT))
        [(kind, *rest)] = told(events)
        kinds.add(kind)
        assert_point(rest[-1])
        assert end_of(events)[0].reason == ("tool_calls" if kind == "call" else "stop")
    assert kinds == {"call", "text"}


@pytest.mark.parametrize(
    ("use", "grammar", "param", "named"),
    [
        (ToolUse(tools=[Tool("f", parameters='{"not": {}}', strict=True)]), None, "tools", "not"),
        (ToolUse(tools=[Tool("f", parameters="[]")], choice="required"), None, "tools", "object"),
        (ToolUse(tools=[Tool("f", parameters='{"type": "string"}')], choice="required"), None, "tools", "'f'"),
        (ToolUse(tools=[MOVE], only=["nobody"]), None, "tools", "no tool"),
        (ToolUse(tools=[Tool("f", parameters="[]")]), JsonObject(), "tools", "object"),
        (ToolUse(tools=[MOVE]), JsonSchema('{"type": "objekt"}'), "response_format", "objekt"),
    ],
)
def test_tools_that_no_grammar_keeps_are_refused_at_their_field(
    load: Load, use: ToolUse, grammar: Any, param: str, named: str
) -> None:
    [refused] = answer(load(markers=QWEN), tool_use=use, grammar=grammar)
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("invalid_value", param)
    assert named in refused.message


def test_what_cannot_be_enforced_is_left_out_where_nobody_was_strict(load: Load) -> None:
    tool = Tool("f", parameters='{"type": "object", "properties": {"x": {"enum": [1, 2], "not": {"const": 1}}}}')
    [(_, name, arguments)] = told(
        sampled(load(markers=QWEN), tool_use=ToolUse(tools=[tool], choice="required", parallel=False))
    )
    assert name == "f"
    assert isinstance(json.loads(arguments), dict)


def test_every_choice_thinks_and_calls_for_itself(load: Load) -> None:
    script = ["<think>", "hm", "</think>"]
    use = ToolUse(tools=[MOVE], choice="required", parallel=False)
    engine = load(script, markers=QWEN[2:])
    events = list(engine.stream(request_for("one", sampling=Sampling(seed=1), tool_use=use, n=3, max_tokens=400)))
    for index in range(3):
        reasoning, call = told(events, index)
        assert reasoning == ("reasoning", "hm")
        assert_point(call[2])
    final = events[-1]
    assert isinstance(final, Finished)
    assert (final.reason, final.reasoning_tokens) == ("tool_calls", 9)
    assert sum(isinstance(event, Started | Text) for event in events) == 1
    assert {event.index for event in events if isinstance(event, Reasoning)} == {0, 1, 2}
