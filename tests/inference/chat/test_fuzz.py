"""Whatever a body of Chat Completions or Completions holds, it is read or refused: never a fault."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dialects import chat, completions
from tests.inference.chat.test_request import CALL, SCHEMA, TOOLS
from tests.inference.spoilt_bodies import ODD, places, read_or_refused, spoilt

CUSTOM = {"name": "patch", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}}
SAMPLING: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "n": 2,
    "stop": ["x"],
    "seed": 3,
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "logit_bias": {"5": 1},
    "stream_options": {"include_usage": True},
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
}
CHAT: dict[str, Any] = {
    **SAMPLING,
    "stream": True,
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": "hello", "name": "n"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [CALL, {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "x"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
    ],
    "max_completion_tokens": 7,
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "tools": [*TOOLS, {"type": "custom", "custom": CUSTOM}],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
    },
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "modalities": ["text"],
    "chat_template_kwargs": {"a": [1, {"b": None}]},
}
COMPLETIONS: dict[str, Any] = {**SAMPLING, "prompt": [[1, 2], [3]], "best_of": 3, "echo": True, "logprobs": 2}

EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "300"))


@settings(max_examples=EXAMPLES)
@given(path=st.sampled_from(list(places(CHAT))), value=st.sampled_from(ODD))
def test_a_spoilt_chat_is_read_or_refused_by_name(path: tuple[Any, ...], value: str) -> None:
    read_or_refused(chat.parse, spoilt(CHAT, path, value))


@settings(max_examples=EXAMPLES)
@given(path=st.sampled_from(list(places(COMPLETIONS))), value=st.sampled_from(ODD))
def test_a_spoilt_completion_is_read_or_refused_by_name(path: tuple[Any, ...], value: str) -> None:
    read_or_refused(completions.parse, spoilt(COMPLETIONS, path, value))


def test_the_bodies_that_are_spoilt_are_good_ones() -> None:
    assert chat.parse(msgspec.json.encode(CHAT), {}.get).custom_tools == {"patch"}
    assert completions.parse(msgspec.json.encode(COMPLETIONS), {}.get).sequences == 6
