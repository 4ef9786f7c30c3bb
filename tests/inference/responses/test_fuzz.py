"""Whatever a body of Responses holds, it is read or refused; what is read can be answered and kept."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dialects.dialect import Header
from inference.dialects.responses.items import seal
from inference.dialects.responses.request import ResponsesRequest, parse
from inference.dialects.responses.stored import by_id, input_items, items_of
from inference.events import CallArguments, CallBegun, Ended, Finished, Started, Text
from tests.inference.responses.stories import FILES
from tests.inference.responses.test_request import PATCH, WEATHER
from tests.inference.spoilt_bodies import ODD, places, read_or_refused, spoilt

BODY: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "instructions": "i",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "s"}]},
        {"role": "user", "content": "hello"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("hm")},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "read", "namespace": "files", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "r"}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "additional_tools", "role": "developer", "tools": [FILES]},
    ],
    "tools": [WEATHER, PATCH, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 7,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_logprobs": 2,
    "metadata": {"a": "b"},
    "parallel_tool_calls": False,
    "store": True,
    "truncation": "disabled",
    "stream_options": {"include_obfuscation": False},
    "chat_template_kwargs": {"a": [1, {"b": None}]},
}
EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "300"))
DIGITS = "0" * 32


def complete(body: bytes, header: Header) -> ResponsesRequest:
    """The request, after it was answered and its items were stored and found again."""
    draft = parse(body)
    request = draft.complete()
    answer = request.answer(DIGITS, model="m", created_s=1)
    answer.opening(Started(1))
    for event in (Text("a", 1), CallBegun("apply_patch", 2), CallArguments('{"input', 3), Ended(0, "length", 3)):
        answer.content(event)
    answer.closing(Finished("length", 1, 3))
    items = items_of(input_items(request.input_items, DIGITS), answer.encoded())
    assert len(by_id(items)) >= 2
    return request


@settings(max_examples=EXAMPLES)
@given(path=st.sampled_from(list(places(BODY))), value=st.sampled_from(ODD))
def test_a_spoilt_body_is_read_or_refused_by_name(path: tuple[Any, ...], value: str) -> None:
    read_or_refused(complete, spoilt(BODY, path, value))


def test_the_body_that_is_spoilt_is_a_good_one() -> None:
    request = complete(msgspec.json.encode(BODY), {}.get)
    assert request.tool_use is not None
    assert len(request.tool_use.tools) == 3
