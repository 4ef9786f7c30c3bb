"""Events as a stream of named events and as a whole message: both say the same, however the text was cut."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dialects.assembly import Assembly
from inference.dialects.messages import errors as anthropic_errors
from inference.dialects.messages.answer import SIGNATURE
from inference.dialects.messages.stream import MessagesAnswer
from inference.events import CallArguments, CallBegun, Ended, Event, Finished, Reasoning, Started, Text
from inference.refusals import Draining, Refusal, unavailable
from tests import golden
from tests.inference.messages.message_stream import events, message_of

GOLDEN = Path(__file__).parent / "golden"
STARTED = Started(20, 8)


def answer(*, shows_thinking: bool = True) -> MessagesAnswer:
    return MessagesAnswer("req_0a", model="m", shows_thinking=shows_thinking)


def streamed(made: Sequence[Event], *, shows_thinking: bool = True) -> bytes:
    projection = answer(shows_thinking=shows_thinking)
    return b"".join([projection.opening(STARTED), *(_frames(projection, event) for event in made)])


def _frames(projection: MessagesAnswer, event: Event) -> bytes:
    return projection.closing(event) if isinstance(event, Finished) else projection.content(event)  # type: ignore[arg-type]


def whole(made: Sequence[Event], *, shows_thinking: bool = True) -> dict[str, Any]:
    assembly, finished = Assembly(1), made[-1]
    for event in made[:-1]:
        assembly.add(event)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    body = answer(shows_thinking=shows_thinking).whole(assembly, STARTED, finished)
    message: dict[str, Any] = json.loads(body)
    return message


def ending(reason: Any, tokens: int, stop: str | None = None, *, thought: int = 0) -> list[Event]:
    return [Ended(0, reason, tokens, stop), Finished(reason, 20, tokens, 8, thought)]


# -- transcripts -----------------------------------------------------------------------------------

WEATHER = [CallBegun("weather", 1, call=0), CallArguments('{"city": "Köln"}', 5, call=0)]
TRANSCRIPTS: dict[str, list[Event]] = {
    "text": [Text('a "b"\n', 1), Text("", 2), Text("é 🦊", 3), *ending("stop", 4)],
    "nothing": ending("length", 0),
    "length": [Text("one two", 2), *ending("length", 2)],
    "stop": [Text("one ", 2), *ending("stop", 3, "two")],
    "json": [Text('{"a":', 2), Text(" 1}", 4), *ending("stop", 5)],
    "thinking": [Reasoning("I should", 2, 2), Reasoning(" greet.", 4, 4), Text("Hi", 6), *ending("stop", 7, thought=5)],
    "tool": [Text("Let me look.", 1), *WEATHER, *ending("tool_calls", 9)],
    "parallel_tools": [
        Reasoning("Both.", 1, 1),
        *WEATHER,
        CallBegun("now", 6, call=1),
        CallArguments("", 6, call=1),
        CallBegun("time", 7, call=2),
        CallArguments('{"at":', 8, call=2),
        CallArguments(' "noon"}', 9, call=2),
        *ending("tool_calls", 10, thought=1),
    ],
    "tool_cut_by_length": [CallBegun("weather", 1), CallArguments('{"city": "Kö', 4), *ending("length", 4)],
}


@pytest.mark.golden
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_an_answer_is_as_it_was_last_read(name: str) -> None:
    made = TRANSCRIPTS[name]
    told = f"{streamed(made).decode()}--- whole\n{json.dumps(whole(made), indent=2, ensure_ascii=False)}\n"
    golden.compare(GOLDEN / f"{name}.txt", told)


@pytest.mark.golden
def test_thinking_nobody_asked_for_is_as_it_was_last_read() -> None:
    made = TRANSCRIPTS["thinking"]
    told = f"{streamed(made, shows_thinking=False).decode()}--- whole\n"
    told += json.dumps(whole(made, shows_thinking=False), indent=2) + "\n"
    golden.compare(GOLDEN / "thinking_not_asked_for.txt", told)


FAULTS = {
    "midway": unavailable("The neuron that worked on this request stopped answering.", retry_after_s=5),
    "cancelled_by_the_neuron": unavailable("The neuron that worked on this request gave it up.", retry_after_s=5),
    "draining": Draining(),
    "queue_full": Refusal("64 wait.", code="rate_limit_exceeded", status=503, retry_after_s=9),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", FAULTS)
def test_an_error_is_as_it_was_last_read(name: str) -> None:
    """Before the first token as a status and a body, after it as the last event."""
    refusal, projection = FAULTS[name], answer()
    told = projection.opening(STARTED) + projection.content(Text("one ", 2)) + projection.broken(refusal)
    plain = f"--- before the first token: {anthropic_errors.status(refusal)}\n"
    plain += anthropic_errors.envelope(refusal, "req_0a").decode() + "\n"
    golden.compare(GOLDEN / f"error_{name}.txt", told.decode() + plain)


# -- rules -----------------------------------------------------------------------------------------


def test_the_prompt_is_counted_where_clients_read_it_and_what_was_cached_apart() -> None:
    first, *_, end, _ = events(streamed(TRANSCRIPTS["text"]))
    cached = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 8}
    assert first["message"]["usage"] == {**cached, "output_tokens": 0}
    assert end["usage"] == {**cached, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 0}}


def test_thinking_is_signed_since_clients_send_back_nothing_else() -> None:
    made = TRANSCRIPTS["thinking"]
    assert whole(made)["content"][0]["signature"] == message_of(streamed(made))["content"][0]["signature"] == SIGNATURE


def test_thinking_nobody_asked_for_is_left_out_and_the_text_around_it_is_one_block() -> None:
    made = [Text("a", 1), Reasoning("hm", 2, 1), Text("b", 3), *ending("stop", 4, thought=1)]
    message = whole(made, shows_thinking=False)
    assert message["content"] == [{"type": "text", "text": "ab"}]
    assert message["usage"]["output_tokens"] == 4
    assert message_of(streamed(made, shows_thinking=False)) == message


def test_calls_have_ids_of_their_own_which_tell_the_request() -> None:
    calls = [block for block in whole(TRANSCRIPTS["parallel_tools"])["content"] if block["type"] == "tool_use"]
    assert [call["id"] for call in calls] == ["toolu_0a00", "toolu_0a01", "toolu_0a02"]
    assert [call["input"] for call in calls] == [{"city": "Köln"}, {}, {"at": "noon"}]


@pytest.mark.parametrize("arguments", ['{"a": [1', "[1]", "5", "[" * 100_000])
def test_arguments_that_are_no_object_are_kept_as_they_are(arguments: str) -> None:
    made = [CallBegun("f", 1), CallArguments(arguments, 4), *ending("length", 4)]
    message = whole(made)
    assert message["content"][0]["input"] == {"_raw": arguments}
    assert message["stop_reason"] == "max_tokens"


def test_an_integer_of_any_size_in_arguments_stays_as_it_was_written() -> None:
    made = [CallBegun("f", 1), CallArguments('{"a": 123456789012345678901234567890}', 4), *ending("tool_calls", 4)]
    assert whole(made)["content"][0]["input"] == {"a": 123456789012345678901234567890}


def test_a_stop_string_is_named_only_where_it_ended_the_answer() -> None:
    message = whole([Text("a", 1), *ending("stop", 2, "b")])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "b")
    message = whole([*WEATHER, *ending("tool_calls", 6, None)])
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)


# -- any split of the same answer --------------------------------------------------------------------

PIECES = st.lists(st.text(max_size=6), max_size=5)
PASSAGES = st.lists(st.tuples(st.sampled_from(["reasoning", "text", "call"]), PIECES), max_size=6)
EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "150"))


def events_of(passages: Sequence[tuple[str, Sequence[str]]], cuts: st.DataObject | None) -> list[Event]:
    """The passages as events, in the pieces they came in, or whole where nothing is cut."""
    made: list[Event] = []
    calls = 0
    for kind, pieces in passages:
        text = "".join(pieces)
        cut = list(pieces) if cuts is None else _cut(text, cuts)
        if kind == "call":
            made.append(CallBegun("f", 0, call=calls))
            made += [CallArguments(piece, 0, call=calls) for piece in cut]
            calls += 1
        else:
            made += [Text(piece, 0) if kind == "text" else Reasoning(piece, 0, 0) for piece in cut]
    return [*made, *ending("tool_calls" if calls else "stop", 9)]


def _cut(text: str, cuts: st.DataObject) -> list[str]:
    at = sorted(cuts.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


@settings(max_examples=EXAMPLES)
@given(passages=PASSAGES, cuts=st.data(), shows_thinking=st.booleans())
def test_any_split_of_an_answer_is_the_same_message_streamed_or_whole(
    passages: list[tuple[str, list[str]]], cuts: st.DataObject, shows_thinking: bool
) -> None:
    made, again = events_of(passages, None), events_of(passages, cuts)
    message = whole(made, shows_thinking=shows_thinking)
    assert whole(again, shows_thinking=shows_thinking) == message
    for split in (made, again):
        read = message_of(streamed(split, shows_thinking=shows_thinking))
        for block in read["content"]:
            if block["type"] == "tool_use":
                block["input"] = _object(block["input"])
        assert read == message


def _object(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"_raw": arguments}
