"""Engine events become the named events of a Responses stream, and the same response whole."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from inference.dialects.assembly import Assembly
from inference.events import CallArguments, CallBegun, Ended, Finished, Piece, Reasoning, Text
from tests.golden import compare
from tests.inference.responses.stories import FILES, STARTED, STORIES, THINKING, Story, answer_for, stream_of
from tests.inference.responses.test_request import PATCH, WEATHER

GOLDEN = Path(__file__).parent / "golden"
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def events_in(sent: bytes) -> list[dict[str, Any]]:
    """The data of every event, whose name is that of its line."""
    events = []
    for frame in sent.decode().removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def whole_of(story: Story) -> dict[str, Any]:
    assembly = Assembly(1)
    for piece in story.pieces:
        assembly.add(piece)
    assert isinstance(story.end, Finished)
    answer: dict[str, Any] = json.loads(answer_for(story).whole(assembly, STARTED, story.end))
    return answer


@pytest.mark.golden
@pytest.mark.parametrize("name", STORIES)
def test_the_stream_is_the_golden_one(name: str) -> None:
    compare(GOLDEN / f"{name}.sse", stream_of(STORIES[name])[0].decode())


@pytest.mark.parametrize("name", STORIES)
def test_numbers_rise_by_one_and_one_event_ends_it(name: str) -> None:
    events = events_in(stream_of(STORIES[name])[0])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events][:2] == ["response.created", "response.in_progress"]
    assert [event["type"] for event in events if event["type"] in TERMINAL] == [events[-1]["type"]]


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if isinstance(story.end, Finished)])
def test_stream_and_whole_answer_end_with_the_same_response(name: str) -> None:
    events = events_in(stream_of(STORIES[name])[0])
    assert events[-1]["response"] == whole_of(STORIES[name])


@pytest.mark.parametrize("name", STORIES)
def test_every_item_is_told_as_it_ends_up_in_the_response(name: str) -> None:
    events = events_in(stream_of(STORIES[name])[0])
    final = events[-1]["response"]["output"]
    done = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
    assert all(final[index] == item for index, item in done.items())
    if events[-1]["type"] != "response.failed":
        assert len(done) == len(final)


@pytest.mark.parametrize("name", STORIES)
def test_the_sdk_takes_every_event(name: str) -> None:
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[WEATHER, PATCH], text_format=omit)
    for event in events_in(stream_of(STORIES[name])[0]):
        state.handle_event(construct_type_unchecked(value=event, type_=ResponseStreamEvent))  # type: ignore[arg-type]
    end = STORIES[name].end
    if isinstance(end, Finished) and end.reason != "length":
        assert state._completed_response is not None


def test_an_error_has_both_shapes_and_a_code_of_the_closed_set() -> None:
    *_, error, failed = events_in(stream_of(STORIES["error_before"])[0])
    assert (error["type"], error["code"], error["error"]["code"]) == ("error", *["service_unavailable"] * 2)
    assert failed["response"]["error"] == {
        "code": "server_error",
        "message": "service_unavailable: No neuron is healthy now.",
    }
    *_, failed = events_in(stream_of(STORIES["error_midway"])[0])
    assert failed["response"]["error"]["code"] == "rate_limit_exceeded"
    assert [item["status"] for item in failed["response"]["output"]] == ["completed", "incomplete"]


# -- any split of the same text ------------------------------------------------------------------


def cut(piece: Piece, places: list[int]) -> Iterator[Piece]:
    if not isinstance(piece, Text | Reasoning | CallArguments) or (isinstance(piece, Text) and piece.logprobs):
        yield piece
        return
    bounds = sorted({0, len(piece.text), *(place % (len(piece.text) + 1) for place in places)})
    for start, end in itertools.pairwise(bounds):
        part = piece.text[start:end]
        if isinstance(piece, Text):
            yield Text(part, piece.completion_tokens)
        elif isinstance(piece, Reasoning):
            yield Reasoning(part, piece.completion_tokens, piece.reasoning_tokens)
        else:
            yield CallArguments(part, piece.completion_tokens, call=piece.call)


EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "150"))
PLACES = st.lists(st.integers(0, 99))
NAMES = st.sampled_from(["weather", "apply_patch", "files__read", "undeclared"])
PASSAGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["text", "reasoning"]), st.text(min_size=1, max_size=20)),
        st.tuples(NAMES, st.text(max_size=20)),
    ),
    max_size=6,
)
SEEN = st.sampled_from([{}, THINKING, {"reasoning": {"effort": "low", "summary": "auto"}}])


def told(passages: list[tuple[str, str]], asked: dict[str, Any]) -> Story:
    """A story of these passages; what is not text or reasoning is a call by its name, with the text as arguments."""
    pieces: list[Piece | Ended] = []
    calls = 0
    for kind, text in passages:
        if kind == "text":
            pieces.append(Text(text, 0))
        elif kind == "reasoning":
            pieces.append(Reasoning(text, 0, 0))
        else:
            arguments = json.dumps({"input": text})
            pieces += [CallBegun(kind, 0, call=calls), CallArguments(arguments, 0, call=calls)]
            calls += 1
    reason: Any = "tool_calls" if calls else "stop"
    tools = {"tools": [WEATHER, PATCH, FILES]}
    return Story(tools | asked, [*pieces, Ended(0, reason, 9)], Finished(reason, 9, 9, 4, 0))


@settings(max_examples=EXAMPLES)
@given(PASSAGES, SEEN, PLACES)
def test_any_split_of_an_answer_gives_the_same_response(
    passages: list[tuple[str, str]], asked: dict[str, Any], places: list[int]
) -> None:
    assert_split_alike(told(passages, asked), places)


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if isinstance(story.end, Finished)])
def test_any_split_of_a_known_answer_gives_the_same_response(name: str) -> None:
    assert_split_alike(STORIES[name], list(range(99)))


def assert_split_alike(story: Story, places: list[int]) -> None:
    pieces: list[Piece | Ended] = []
    for piece in story.pieces:
        pieces += [piece] if isinstance(piece, Ended) else cut(piece, places)
    split = story._replace(pieces=pieces)
    events = events_in(stream_of(split)[0])
    assert events[-1] == {**events_in(stream_of(story)[0])[-1], "sequence_number": events[-1]["sequence_number"]}
    assert whole_of(split) == whole_of(story)
    deltas: dict[int, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            deltas[event["output_index"]] = deltas.get(event["output_index"], "") + event["delta"]
    for index, item in enumerate(events[-1]["response"]["output"]):
        parts = item.get("content") or item.get("summary") or [{"text": item.get("arguments", item.get("input"))}]
        assert deltas.get(index, "") == parts[0]["text"]
