"""Events as chunks and as a whole answer: both say the same, however the text was cut."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dialects.assembly import Assembly
from inference.dialects.chat.answer import ChatAnswer
from inference.dialects.openai import errors as openai_errors
from inference.dialects.openai.usage import SYSTEM_FINGERPRINT
from inference.events import CallArguments, CallBegun, Ended, Event, Finished, Reasoning, Started, Text, TokenLogprob
from inference.refusals import Refusal, unavailable
from tests import golden
from tests.inference.chat.chat_stream import answer_of, data_of

GOLDEN = Path(__file__).parent / "golden"
STARTED = Started(20, 8)


def answer(n: int = 1, **options: Any) -> ChatAnswer:
    return ChatAnswer("req_0a", model="m", created_s=7, n=n, **{"custom_tools": frozenset(["patch"]), **options})


def streamed(made: Sequence[Event], **options: Any) -> bytes:
    projection = answer(_choices(made), **options)
    return b"".join([projection.opening(STARTED), *(_frames(projection, event) for event in made)])


def _choices(made: Sequence[Event]) -> int:
    return sum(isinstance(event, Ended) for event in made)


def _frames(projection: ChatAnswer, event: Event) -> bytes:
    return projection.closing(event) if isinstance(event, Finished) else projection.content(event)  # type: ignore[arg-type]


def whole(made: Sequence[Event], **options: Any) -> dict[str, Any]:
    assembly, finished = Assembly(_choices(made)), made[-1]
    for event in made[:-1]:
        assembly.add(event)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    made_whole: dict[str, Any] = json.loads(answer(_choices(made), **options).whole(assembly, STARTED, finished))
    return made_whole


def ending(reason: Any, tokens: int, *, thought: int = 0) -> list[Event]:
    return [Ended(0, reason, tokens), Finished(reason, 20, tokens, 8, thought)]


def token(text: str, logprob: float | None = -0.5, *top: TokenLogprob) -> TokenLogprob:
    return TokenLogprob(1, text.encode(), logprob, list(top))


# -- transcripts -----------------------------------------------------------------------------------

WEATHER = [CallBegun("weather", 1, call=0), CallArguments('{"city": "Köln"}', 5, call=0)]
TRANSCRIPTS: dict[str, list[Event]] = {
    "text": [Text('a "b"\n', 1), Text("", 2), Text("é 🦊", 3), *ending("stop", 4)],
    "nothing": ending("length", 0),
    "length": [Text("one two", 2), *ending("length", 2)],
    "json": [Text('{"a":', 2), Text(" 1}", 4), *ending("stop", 5)],
    "reasoning": [
        Reasoning("I should", 2, 2),
        Reasoning(" greet.", 4, 4),
        Text("Hi", 6),
        *ending("stop", 7, thought=5),
    ],
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
    "custom_tools": [
        CallBegun("patch", 1),
        CallArguments('{"input": "*** Begin', 3),
        CallArguments(' \\"Patch\\"\\n"}', 5),
        CallBegun("weather", 6, call=1),
        CallArguments("{}", 7, call=1),
        CallBegun("patch", 8, call=2),
        CallArguments('{"input": "cut\\u00', 9, call=2),
        *ending("length", 9),
    ],
    "tool_cut_by_length": [CallBegun("weather", 1), CallArguments('{"city": "Kö', 4), *ending("length", 4)],
    "two_choices": [
        Text("a", 1),
        Text("b", 2, 1),
        Ended(1, "stop", 3),
        *WEATHER,
        Ended(0, "length", 9),
        Finished("length", 20, 9),
    ],
}
WITH_LOGPROBS: list[Event] = [
    Text("a", 1, logprobs=[token("a", -0.25, token("a", -0.25), token("b", -math.inf))]),
    Text("é", 3, logprobs=[TokenLogprob(2, b"\xc3", -1.0), TokenLogprob(3, b"\xa9", None)]),
    Text("", 4, logprobs=[token("<end>", -3.0)]),
    *ending("stop", 5),
]


def told(made: Sequence[Event], **options: Any) -> str:
    body = json.dumps(whole(made, **options), indent=2, ensure_ascii=False)
    made_so = f"{streamed(made, **options).decode()}--- whole\n{body}\n"
    return made_so.replace(SYSTEM_FINGERPRINT, "fp_release")


@pytest.mark.golden
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_an_answer_is_as_it_was_last_read(name: str) -> None:
    golden.compare(GOLDEN / f"{name}.txt", told(TRANSCRIPTS[name]))


@pytest.mark.golden
def test_other_ways_to_tell_it_are_as_they_were_last_read() -> None:
    golden.compare(GOLDEN / "include_usage.txt", told(TRANSCRIPTS["two_choices"], include_usage=True))
    golden.compare(GOLDEN / "logprobs.txt", told(WITH_LOGPROBS, logprobs=True))


FAULTS = {
    "midway": unavailable("The neuron that worked on this request stopped answering.", retry_after_s=5),
    "context": Refusal("too long", code="context_length_exceeded", param="messages", diagnostics={"max": 5}),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", FAULTS)
def test_an_error_is_as_it_was_last_read(name: str) -> None:
    """Before the first token as a status and a body, after it as the last event."""
    refusal, projection = FAULTS[name], answer()
    stream = projection.opening(STARTED) + projection.content(Text("one ", 2)) + projection.broken(refusal)
    plain = f"--- before the first token: {openai_errors.status(refusal)}\n"
    plain += openai_errors.envelope(refusal, "req_0a").decode() + "\n"
    golden.compare(GOLDEN / f"error_{name}.txt", stream.decode().replace(SYSTEM_FINGERPRINT, "fp_release") + plain)


# -- rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_stream_comes_to_the_whole_answer(name: str) -> None:
    made = TRANSCRIPTS[name]
    assert answer_of(streamed(made)) == answer_of(streamed(made, include_usage=True)) == whole(made)


def test_without_include_usage_no_chunk_is_without_choices_and_the_usage_is_on_the_last() -> None:
    *chunks, done = data_of(streamed(TRANSCRIPTS["two_choices"]))
    assert done == "[DONE]"
    assert all(json.loads(chunk)["choices"] for chunk in chunks)
    assert json.loads(chunks[-1])["usage"]["total_tokens"] == 29
    assert json.loads(chunks[-1])["choices"][0]["finish_reason"] == "length"


def test_with_include_usage_it_comes_in_a_chunk_of_its_own_and_in_no_other() -> None:
    *chunks, last, _ = data_of(streamed(TRANSCRIPTS["text"], include_usage=True))
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"]["completion_tokens"] == 4
    assert not any("usage" in json.loads(chunk) for chunk in chunks)


def test_usage_tells_what_was_cached_and_what_was_thought() -> None:
    usage = whole(TRANSCRIPTS["reasoning"])["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 8}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 5}


def test_an_answer_of_nothing_is_an_empty_text_and_one_of_calls_alone_has_none() -> None:
    assert whole(TRANSCRIPTS["nothing"])["choices"][0]["message"]["content"] == ""
    message = whole(TRANSCRIPTS["tool_cut_by_length"])["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == '{"city": "Kö'
    assert "tool_calls" not in whole(TRANSCRIPTS["text"])["choices"][0]["message"]


def test_calls_have_ids_of_their_own_in_every_choice() -> None:
    made = [*WEATHER, CallBegun("weather", 6, call=1), CallBegun("weather", 7, 1), Ended(0, "tool_calls", 7)]
    body = whole([*made, Ended(1, "tool_calls", 7), Finished("tool_calls", 20, 7)])
    calls = [call for choice in body["choices"] for call in choice["message"]["tool_calls"]]
    assert [call["id"] for call in calls] == ["call_0a000000", "call_0a000001", "call_0a010000"]


def test_a_calls_id_is_short_enough_for_who_takes_over_the_conversation() -> None:
    """OpenAI refuses a history with ids of more than 40 characters."""
    ids = []
    for request_id in (f"req_{'a' * 31}b", f"req_{'a' * 31}c"):
        made = ChatAnswer(request_id, model="m", created_s=7, n=128).content(CallBegun("weather", 6, 127, call=999))
        ids.append(json.loads(made.removeprefix(b"data: "))["choices"][0]["delta"]["tool_calls"][0]["id"])
    assert max(map(len, ids)) <= 40
    assert len(set(ids)) == 2


def test_a_custom_tool_gets_its_text_back_also_where_it_was_cut() -> None:
    calls = whole(TRANSCRIPTS["custom_tools"])["choices"][0]["message"]["tool_calls"]
    assert [call["type"] for call in calls] == ["custom", "function", "custom"]
    assert [call["custom"]["input"] for call in calls if "custom" in call] == ['*** Begin "Patch"\n', "cut"]


def test_log_probabilities_are_finite_and_belong_to_the_text_of_their_chunk() -> None:
    texts = [json.loads(chunk)["choices"][0] for chunk in data_of(streamed(WITH_LOGPROBS, logprobs=True))[1:4]]
    assert [len(text["logprobs"]["content"]) for text in texts] == [1, 2, 1]
    assert texts[0]["logprobs"]["content"][0]["top_logprobs"][1]["logprob"] == -9999.0
    assert texts[1]["logprobs"]["content"][1]["bytes"] == [0xA9]
    assert answer_of(streamed(WITH_LOGPROBS, logprobs=True)) == whole(WITH_LOGPROBS, logprobs=True)
    assert whole(WITH_LOGPROBS)["choices"][0]["logprobs"] is None


def test_a_silence_is_filled_with_a_comment() -> None:
    made, projection = TRANSCRIPTS["text"], answer()
    frames = [projection.opening(STARTED), projection.keep_alive()]
    frames += [_frames(projection, event) + projection.keep_alive() for event in made[:-1]]
    assert projection.keep_alive().startswith(b":")
    assert answer_of(b"".join([*frames, projection.closing(made[-1])])) == whole(made)  # type: ignore[arg-type]


# -- any split of the same answer --------------------------------------------------------------------

PASSAGES = st.lists(
    st.tuples(st.sampled_from(["reasoning", "text", "weather", "patch"]), st.text(max_size=12)), max_size=5
)
EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "150"))


def events_of(index: int, passages: Sequence[tuple[str, str]], cuts: st.DataObject | None) -> list[Event]:
    """The passages of a choice as events, cut anywhere or whole, and its end."""
    made: list[Event] = []
    calls = 0
    for kind, text in passages:
        pieces = [text] if cuts is None else _cut(text, cuts)
        if kind in ("weather", "patch"):
            made.append(CallBegun(kind, 0, index, calls))
            made += [CallArguments(piece, 0, index, calls) for piece in pieces]
            calls += 1
        else:
            made += [Text(piece, 0, index) if kind == "text" else Reasoning(piece, 0, 0, index) for piece in pieces]
    return [*made, Ended(index, "tool_calls" if calls else "stop", 9)]


def _cut(text: str, cuts: st.DataObject) -> list[str]:
    at = sorted(cuts.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


def _mixed(first: list[Event], second: list[Event], cuts: st.DataObject) -> list[Event]:
    """The events of two choices in some order that keeps each one's own."""
    at = sorted(cuts.draw(st.lists(st.integers(0, len(first)), min_size=len(second), max_size=len(second))))
    mixed = list(first)
    for place, event in reversed(list(zip(at, second, strict=True))):
        mixed.insert(place, event)
    return mixed


@settings(max_examples=EXAMPLES)
@given(passages=st.tuples(PASSAGES, PASSAGES), cuts=st.data(), include_usage=st.booleans())
def test_any_split_of_an_answer_is_the_same_streamed_or_whole(
    passages: tuple[list[tuple[str, str]], list[tuple[str, str]]], cuts: st.DataObject, include_usage: bool
) -> None:
    finished = Finished("stop", 20, 9)
    plain = [event for index in (0, 1) for event in events_of(index, passages[index], None)]
    split = _mixed(*(events_of(index, passages[index], cuts) for index in (0, 1)), cuts)
    body = whole([*plain, finished])
    for made in (plain, split):
        assert whole([*made, finished]) == body
        assert answer_of(streamed([*made, finished], include_usage=include_usage)) == body
