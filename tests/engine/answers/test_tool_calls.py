"""Reasoning, text and calls through a whole engine: what each event holds, what is counted, and how an answer ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from inference.engine import Engine
from inference.events import (
    CallArguments,
    CallBegun,
    Ended,
    Event,
    Finished,
    Piece,
    Reasoning,
    Text,
)
from inference.requests import Sampling, Tool, ToolUse
from tests.engine.conftest import request_for
from tests.engine.scripted import LLAMA, MISTRAL, scripted_model

PARAMETERS = '{"type":"object","properties":{"x":{"type":"integer"}}}'
TOOLS = ToolUse(tools=[Tool("f", parameters=PARAMETERS), Tool("g")])
SCRIPT = [
    "<think>",
    "\nhm",
    " the river\n",
    "</think>",
    "\n\nLook",
    ":\n",
    "<tool_call>",
    '\n{"name": "f',
    '", "arguments": ',
    '{"x": 1}}\n',
    "</tool_call>",
]

Load = Callable[..., Engine]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """An engine that holds a scripted model as `tiny`."""
    engine = Engine("cpu", proves_when_idle=True)

    def load(script: Sequence[str] = (), **options: Any) -> Engine:
        engine.load("tiny", str(scripted_model(tmp_path / "model", script, **options)))
        return engine

    yield load
    engine.check()
    engine.close()


def answer(engine: Engine, **fields: Any) -> list[Event]:
    return list(engine.stream(request_for("one", **fields)))


def told(events: Sequence[Event], index: int = 0) -> list[Any]:
    """Reasoning, text and calls of a choice in their order, neighbours of one kind together."""
    result: list[list[Any]] = []
    for event in events:
        if not isinstance(event, Piece) or event.index != index:
            continue
        if isinstance(event, CallBegun):
            assert event.call == sum(kind == "call" for kind, *_ in result)
            result.append(["call", event.name, ""])
            continue
        kind = {Reasoning: "reasoning", Text: "text", CallArguments: "call"}[type(event)]
        if not result or result[-1][0] != kind:
            result.append([kind, ""])
        result[-1][-1] += event.text
    return [tuple(each) for each in result]


def end_of(events: Sequence[Event]) -> tuple[Ended, Finished]:
    ended, finished = events[-2:]
    assert isinstance(ended, Ended)
    assert isinstance(finished, Finished)
    assert finished.reason == ended.reason
    return ended, finished


EXPECTED = [("reasoning", "hm the river"), ("text", "Look:"), ("call", "f", '{"x":1}')]


def test_it_works(load: Load) -> None:
    events = answer(load(SCRIPT), tool_use=TOOLS)
    assert told(events) == EXPECTED
    ended, finished = end_of(events)
    assert (ended.reason, ended.stop) == ("tool_calls", None)
    assert (finished.completion_tokens, finished.reasoning_tokens) == (len(SCRIPT) + 1, 4)


def test_a_call_comes_whole_and_all_counts_only_rise(load: Load) -> None:
    events = answer(load(SCRIPT), tool_use=TOOLS)
    calls = [event for event in events if isinstance(event, CallBegun | CallArguments)]
    assert calls == [CallBegun("f", 11), CallArguments('{"x":1}', 11)]
    assert [event.reasoning_tokens for event in events if isinstance(event, Reasoning)] == [2, 3]
    counts = [event.completion_tokens for event in events if isinstance(event, Piece | Ended | Finished)]
    assert counts == sorted(counts)


def test_markers_that_are_no_tokens_are_found_in_the_text(load: Load) -> None:
    script = [
        "<thi",
        "nk>\nhm the",
        " river\n</th",
        "ink>\n\nLo",
        "ok:\n<tool_",
        'call>{"name": "f", ',
        '"arguments": {"x"',
        ": 1}}</tool",
        "_call",
    ]
    events = answer(load([*script, ">"]), tool_use=TOOLS)
    assert told(events) == EXPECTED
    assert end_of(events)[0].reason == "tool_calls"
    assert end_of(events)[1].reasoning_tokens == 4


@pytest.mark.parametrize("use", [None, ToolUse(tools=TOOLS.tools, choice="none"), ToolUse(tools=[])])
def test_where_no_tools_are_offered_markup_is_text(load: Load, use: ToolUse | None) -> None:
    events = answer(load(SCRIPT), tool_use=use)
    [_, (kind, text)] = told(events)
    assert (kind, text) == ("text", 'Look:\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>')
    assert end_of(events)[0].reason == "stop"


def test_a_prompt_that_ends_in_reasoning_is_followed_by_it(load: Load) -> None:
    events = answer(load(["hm", "</think>", "Yes"], markers=["<think>"], opening="<think>"))
    assert told(events) == [("reasoning", "hm"), ("text", "Yes")]
    assert end_of(events)[1].reasoning_tokens == 2


def test_a_whole_prompt_is_continued_as_plain_text(load: Load) -> None:
    events = list(load(SCRIPT).stream(request_for("one", prompts=["\n"], tool_use=TOOLS)))
    assert told(events)[0][1].startswith("<think>\nhm the river\n</think>")


@pytest.mark.parametrize(
    ("stop", "text", "matched", "reason"),
    [
        ("river", "Look:", None, "tool_calls"),
        ("name", "Look:", None, "tool_calls"),
        ("ok:", "Lo", "ok:", "stop"),
        (":\n<", "Look:", None, "tool_calls"),
    ],
)
def test_stop_strings_are_looked_for_in_visible_text_only(
    load: Load, stop: str, text: str, matched: str | None, reason: str
) -> None:
    events = answer(load(SCRIPT), tool_use=TOOLS, stop=["never said", stop])
    assert told(events)[:2] == [("reasoning", "hm the river"), ("text", text)]
    ended, _ = end_of(events)
    assert (ended.reason, ended.stop) == (reason, matched)


@pytest.mark.parametrize(
    ("max_tokens", "expected", "reasoning_tokens"),
    [
        (2, [("reasoning", "hm")], 2),
        (5, [("reasoning", "hm the river"), ("text", "Look")], 4),
        (9, [("reasoning", "hm the river"), ("text", 'Look:\n<tool_call>\n{"name": "f", "arguments": ')], 4),
        (11, EXPECTED, 4),
    ],
)
def test_an_answer_that_is_cut_ends_by_length_and_an_unfinished_call_is_text(
    load: Load, max_tokens: int, expected: list[Any], reasoning_tokens: int
) -> None:
    events = answer(load(SCRIPT), tool_use=TOOLS, max_tokens=max_tokens)
    assert told(events) == expected
    ended, finished = end_of(events)
    assert (ended.reason, finished.completion_tokens) == ("length", max_tokens)
    assert finished.reasoning_tokens == reasoning_tokens


TWO = ['Now: <tool_call>{"name": ', '"f"}</tool_call>\n<tool_c', 'all>{"name": "g"}', "</tool_call>\nDone"]


def test_several_calls_and_text_around_them(load: Load) -> None:
    events = answer(load(TWO), tool_use=TOOLS)
    assert told(events) == [("text", "Now:"), ("call", "f", "{}"), ("call", "g", "{}"), ("text", "Done")]
    assert end_of(events)[0].reason == "tool_calls"


def test_without_parallel_calls_the_first_one_ends_the_answer(load: Load) -> None:
    events = answer(load(TWO), tool_use=ToolUse(tools=TOOLS.tools, parallel=False))
    assert told(events) == [("text", "Now:"), ("call", "f", "{}")]
    ended, finished = end_of(events)
    assert (ended.reason, finished.completion_tokens) == ("tool_calls", 2)


def test_log_probabilities_are_of_what_is_shown(load: Load) -> None:
    events = answer(load(SCRIPT), tool_use=TOOLS, sampling=Sampling(temperature=0, logprobs=0))

    def spelled(kind: type[Text] | type[Reasoning]) -> list[bytes]:
        return [each.spelling for event in events if isinstance(event, kind) for each in event.logprobs]

    assert spelled(Reasoning) == [b"\nhm", b" the river\n"]
    assert spelled(Text) == [b"\n\nLook", b":\n"]


def test_a_request_that_is_cancelled_says_how_long_it_thought(load: Load) -> None:
    engine = load(["<think>", "a", "b", "c"], markers=["</think>"])
    events = []
    for event in engine.stream(request_for("one", ignore_eos=True, max_tokens=1500)):
        events.append(event)
        if isinstance(event, Reasoning) and event.text == "c":
            engine.cancel("one")
    final = events[-1]
    assert isinstance(final, Finished)
    assert final.reason == "cancelled"
    assert 4 <= final.reasoning_tokens == final.completion_tokens


@pytest.mark.parametrize(
    ("family", "script"),
    [
        (LLAMA, ['{"name": ', '"f", "param', 'eters": {"x": 1}', "}"]),
        (LLAMA, ["<|python_tag|>", '{"name": "f", "parameters": {"x": 1}}']),
        (MISTRAL, ["[TOOL_CALLS]", "f[AR", 'GS]{"x"', ": 1}"]),
        (MISTRAL, ["[TOOL_CALLS]", '[{"name": "f", ', '"arguments": {"x": 1}}]']),
        ("<|tool_call>", ["<|tool_call>", "call:f{", "x:1}", "<tool_call|>"]),
        (
            "<tool_call> <function=",
            ["<tool_call>", "\n<function=f>\n<parameter=x>", "\n1\n</parameter>\n", "</function>\n", "</tool_call>"],
        ),
    ],
)
def test_every_family(load: Load, family: str, script: list[str]) -> None:
    events = answer(load(script, family=family), tool_use=TOOLS)
    assert told(events) == [("call", "f", '{"x":1}')]
    assert end_of(events)[0].reason == "tool_calls"
