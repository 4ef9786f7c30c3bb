"""Tools through Messages with the anthropic SDK: calls a real model was made to make, and a long loop of them."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import Anthropic
from anthropic.types import Message, ToolUseBlock

from tests.inference.messages.message_stream import message_of
from tests.stack.running import Key, Stack
from tests.stack.test_messages import post

HELLO: list[Any] = [{"role": "user", "content": "how is it?"}]
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "Asks the sky.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Bonn", "Rome"]}, "rain": {"type": "boolean"}},
        "required": ["city", "rain"],
        "additionalProperties": False,
    },
}
TIME: dict[str, Any] = {**WEATHER, "name": "time"}
THIS = {"type": "tool", "name": "weather"}


@pytest.fixture
def client(url: str, key: Key) -> Anthropic:
    return Anthropic(base_url=url, api_key=key.secret, max_retries=0)


def calls_of(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def is_whole(call: ToolUseBlock) -> bool:
    return call.input.keys() == {"city", "rain"} and call.input["city"] in ("Bonn", "Rome")


def test_the_tool_that_is_named_is_called_with_an_object_of_its_schema(client: Anthropic, stack: Stack) -> None:
    asked: dict[str, Any] = {"model": stack.model, "max_tokens": 200, "messages": HELLO, "tools": [WEATHER, TIME]}
    message = client.messages.create(**asked, tool_choice={**THIS, "disable_parallel_tool_use": True})
    (call,) = calls_of(message)
    assert (message.stop_reason, call.name) == ("tool_use", "weather")
    assert call.id.startswith("toolu_")
    assert is_whole(call)


def test_any_tool_is_called_and_only_once_where_that_is_asked_for(client: Anthropic, stack: Stack) -> None:
    for _ in range(3):
        message = client.messages.create(
            model=stack.model,
            max_tokens=200,
            messages=HELLO,
            tools=[WEATHER, TIME],  # type: ignore[list-item]
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
        )
        (call,) = calls_of(message)
        assert call.name in ("weather", "time")


def test_a_call_that_streams_is_the_same_call(url: str, key: Key) -> None:
    choice = {**THIS, "disable_parallel_tool_use": True}
    fields = {"temperature": 0, "max_tokens": 200, "tools": [WEATHER], "tool_choice": choice}
    whole = post(url, key, **fields).json()
    streamed = post(url, key, stream=True, **fields).content
    assert streamed.count(b"input_json_delta") > 3, "arguments of a forced call come as they are made"
    read = message_of(streamed)
    assert (read["stop_reason"], [block["type"] for block in read["content"]]) == ("tool_use", ["tool_use"])
    assert [block["name"] for block in read["content"]] == [block["name"] for block in whole["content"]]


def test_a_call_cut_by_length_says_so_and_keeps_what_there_is(url: str, key: Key) -> None:
    message = post(url, key, temperature=0, max_tokens=50, tools=[WEATHER], tool_choice=THIS).json()
    (call,) = message["content"]
    assert (message["stop_reason"], call["type"], call["name"]) == ("max_tokens", "tool_use", "weather")
    assert call["input"]["_raw"].startswith("{")


def test_without_permission_nothing_is_called(url: str, key: Key) -> None:
    message = post(url, key, tools=[WEATHER], tool_choice={"type": "none"}).json()
    assert [block["type"] for block in message["content"]] == ["text"]


def test_a_loop_of_twenty_turns_keeps_every_call_and_result(client: Anthropic, stack: Stack) -> None:
    """Every second answer streams. What was called is sent back as the SDK had it, with the result of its tool."""
    turns: list[Any] = [*HELLO]
    ids: list[str] = []
    counted = 0
    for number in range(20):
        asked: dict[str, Any] = {
            "model": stack.model,
            "max_tokens": 400,
            "messages": turns,
            "tools": [WEATHER],
            "tool_choice": {**THIS, "disable_parallel_tool_use": True},
        }
        if number % 2:
            with client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**asked)
        (call,) = calls_of(message)
        assert is_whole(call)
        ids.append(call.id)
        used = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
        assert used > counted
        counted = used
        result = {"type": "tool_result", "tool_use_id": call.id, "content": f"result {number}"}
        turns += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    assert len(set(ids)) == 20
    last = client.messages.create(
        model=stack.model,
        max_tokens=10,
        messages=turns,
        tools=[WEATHER],  # type: ignore[list-item]
        tool_choice={"type": "none"},
    )
    assert [block.type for block in last.content] == ["text"]
