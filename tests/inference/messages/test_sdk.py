"""The anthropic SDK reads what events become: its own types, its stream helper and its loop of tools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic, APIStatusError, DefaultHttpxClient, beta_tool
from anthropic.types import ToolUseBlock

from inference.events import CallArguments, CallBegun, Event, Reasoning, Text
from inference.refusals import Draining
from tests.inference.messages.test_answer import (
    STARTED,
    TRANSCRIPTS,
    answer,
    ending,
    streamed,
    whole,
)

ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}


def client(*answers: bytes) -> Anthropic:
    """A client to which these are answered, one after the other: streams where they begin with an event's name."""
    left: Iterator[bytes] = iter(answers)

    def handle(request: httpx2.Request) -> httpx2.Response:
        body = next(left)
        kind = "text/event-stream" if body.startswith(b"event:") else "application/json"
        return httpx2.Response(200, content=body, headers={"content-type": kind})

    transport = httpx2.MockTransport(handle)
    return Anthropic(api_key="k", max_retries=0, http_client=DefaultHttpxClient(transport=transport))


@pytest.mark.parametrize("name", [name for name in TRANSCRIPTS if name != "tool_cut_by_length"])
def test_its_helper_puts_a_stream_together_to_the_whole_message(name: str) -> None:
    made = TRANSCRIPTS[name]
    with client(streamed(made)).messages.stream(**ASKED) as stream:
        read = stream.get_final_message()
    direct = client(json.dumps(whole(made)).encode()).messages.create(**ASKED)
    fields = {"content", "stop_reason", "stop_sequence", "usage", "id", "model", "role", "type"}
    assert read.model_dump(include=fields, mode="json") == direct.model_dump(include=fields, mode="json")


def test_a_call_cut_by_length_breaks_nothing_and_is_not_taken_for_a_whole_one() -> None:
    made = TRANSCRIPTS["tool_cut_by_length"]
    with client(streamed(made)).messages.stream(**ASKED) as stream:
        read = stream.get_final_message()
    assert read.stop_reason == "max_tokens"
    assert [block.type for block in read.content] == ["tool_use"]


def test_the_events_of_its_helper_tell_thinking_text_and_arguments_as_they_come() -> None:
    made = [Reasoning("Hm", 1, 1), Text("Well", 2), *TRANSCRIPTS["tool"][1:]]
    with client(streamed(made)).messages.stream(**ASKED) as stream:
        told = [event.type for event in stream if event.type in ("thinking", "signature", "text", "input_json")]
    assert told == ["thinking", "signature", "text", "input_json"]


def test_pings_are_read_over_also_before_the_message_begins() -> None:
    projection = answer()
    frames = [projection.keep_alive(), streamed(TRANSCRIPTS["text"]), projection.keep_alive()]
    with client(b"".join(frames)).messages.stream(**ASKED) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"


def test_a_stream_that_breaks_raises_the_error_it_broke_on() -> None:
    projection = answer()
    frames = projection.opening(STARTED) + projection.content(Text("a", 1)) + projection.broken(Draining())
    with (
        client(frames).messages.stream(**ASKED) as stream,
        pytest.raises(APIStatusError) as broken,
    ):
        stream.get_final_message()
    assert (broken.value.type, broken.value.error_code) == ("overloaded_error", "service_unavailable")


def calling(city: str, call: int = 0) -> Sequence[Event]:
    return [CallBegun("weather", 1, call=call), CallArguments(json.dumps({"city": city}), 5, call=call)]


def test_its_runner_of_tools_calls_both_and_goes_on_to_the_end() -> None:
    asked: list[str] = []

    @beta_tool
    def weather(city: str) -> str:
        """Ask the sky.

        Args:
            city: where
        """
        asked.append(city)
        return "rain"

    turns = [
        [Text("Both.", 1), *calling("Köln"), *calling("Bonn", 1), *ending("tool_calls", 9)],
        [Text("It rains.", 3), *ending("stop", 4)],
    ]
    bodies = [json.dumps(whole(turn)).encode() for turn in turns]
    last = client(*bodies).beta.messages.tool_runner(**ASKED, tools=[weather]).until_done()
    assert asked == ["Köln", "Bonn"]
    assert last.content[0].type == "text"
    assert not any(isinstance(block, ToolUseBlock) for block in last.content)
