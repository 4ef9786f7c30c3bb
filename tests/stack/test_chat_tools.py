"""Calls of tools in Chat Completions, as the SDK sees them: from a model of random weights, whose calls are forced."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from tests.stack.running import Key, Stack

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "size": {"enum": [1, 2]}},
    "required": ["colour", "size"],
    "additionalProperties": False,
}
SHIRT = {"type": "function", "function": {"name": "find_shirt", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time"}}
PATCH = {"type": "custom", "custom": {"name": "patch", "description": "Takes a patch."}}
NAMED = {"type": "function", "function": {"name": "find_shirt"}}


class FindShirt(BaseModel):
    colour: Literal["red", "blue"]
    size: Literal[1, 2]


@pytest.fixture
def client(url: str, key: Key) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)


@pytest.fixture
def asked(stack: Stack) -> dict[str, Any]:
    """Not greedy: a model of random weights would write as much white space as JSON may hold between everything."""
    return {
        "model": stack.model,
        "messages": [{"role": "user", "content": "a shirt, please"}],
        "max_tokens": 200,
        "temperature": 1,
        "seed": 5,
        "tools": [SHIRT, TIME],
        "tool_choice": NAMED,
    }


def calls(answer: ChatCompletion, index: int = 0) -> list[Any]:
    return answer.choices[index].message.tool_calls or []


def test_a_named_tool_is_called_and_only_once_named_in_a_stream(client: OpenAI, asked: dict[str, Any]) -> None:
    whole = client.chat.completions.create(**asked, parallel_tool_calls=False)
    (call,) = calls(whole)
    assert (call.type, call.function.name) == ("function", "find_shirt")
    assert FindShirt.model_validate_json(call.function.arguments)
    assert (whole.choices[0].finish_reason, whole.choices[0].message.content) == ("tool_calls", None)

    chunks = list(client.chat.completions.create(**asked, parallel_tool_calls=False, stream=True))
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert [delta.function.name for delta in deltas if delta.function.name] == ["find_shirt"]
    assert [delta.index for delta in deltas] == [0] * len(deltas)
    assert len([delta.id for delta in deltas if delta.id]) == 1
    assert "".join(delta.function.arguments or "" for delta in deltas) == call.function.arguments
    assert len(deltas) > 3, "arguments that are forced come as they are made"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_the_stream_helper_of_the_sdk_parses_the_call(client: OpenAI, asked: dict[str, Any]) -> None:
    asked["tools"] = [openai.pydantic_function_tool(FindShirt, name="find_shirt")]
    with client.chat.completions.stream(**asked, parallel_tool_calls=False) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        message = stream.get_final_completion().choices[0].message
    assert isinstance(done[0].parsed_arguments, FindShirt)
    assert message.tool_calls[0].function.parsed_arguments == done[0].parsed_arguments
    parsed = client.chat.completions.parse(**asked, parallel_tool_calls=False)
    assert isinstance(calls(parsed)[0].function.parsed_arguments, FindShirt)


def test_every_choice_calls_with_ids_of_its_own(client: OpenAI, asked: dict[str, Any]) -> None:
    asked |= {"tool_choice": "required", "n": 2}
    answer = client.chat.completions.create(**asked)
    made = [call for index in range(2) for call in calls(answer, index)]
    assert {choice.finish_reason for choice in answer.choices} <= {"tool_calls", "length"}
    assert all(calls(answer, index) for index in range(2))
    assert len({call.id for call in made}) == len(made)
    assert {call.function.name for call in made} <= {"find_shirt", "time"}


def test_a_call_that_is_cut_stays_one_and_says_length(client: OpenAI, asked: dict[str, Any]) -> None:
    whole_arguments = calls(client.chat.completions.create(**asked))[0].function.arguments
    spent = client.chat.completions.create(**{**asked, "parallel_tool_calls": False}).usage.completion_tokens
    asked |= {"max_tokens": spent - 8, "parallel_tool_calls": False}
    cut = client.chat.completions.create(**asked)
    assert cut.choices[0].finish_reason == "length"
    assert whole_arguments.startswith(calls(cut)[0].function.arguments)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert "".join(delta.function.arguments or "" for delta in deltas) == calls(cut)[0].function.arguments


def test_a_custom_tool_is_given_text(client: OpenAI, asked: dict[str, Any]) -> None:
    asked |= {"tools": [PATCH], "tool_choice": {"type": "custom", "custom": {"name": "patch"}}, "max_tokens": 60}
    call = calls(client.chat.completions.create(**asked))[0]
    assert (call.type, call.custom.name) == ("custom", "patch")
    assert isinstance(call.custom.input, str)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].model_extra["custom"] == {"name": "patch", "input": call.custom.input}


def test_a_loop_of_calls_and_results_goes_on_and_on(client: OpenAI, asked: dict[str, Any]) -> None:
    asked["parallel_tool_calls"] = False
    for turn in range(8):
        message = client.chat.completions.create(**asked).choices[0].message
        (call,) = message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"turn": turn})}
        asked["messages"] += [message.model_dump(), result]
    prompt = client.chat.completions.create(**asked).usage.prompt_tokens
    alone = client.chat.completions.create(**{**asked, "messages": asked["messages"][:1]}).usage.prompt_tokens
    assert prompt > alone + 8 * 10, "the model reads all of it"


def test_without_a_tool_that_may_be_called_markup_is_text(client: OpenAI, asked: dict[str, Any]) -> None:
    plain = client.chat.completions.create(**{**asked, "tool_choice": "none"})
    assert calls(plain) == []
    assert plain.choices[0].finish_reason == "length"
