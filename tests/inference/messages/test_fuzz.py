"""Whatever a Messages body holds, it is read or refused: never a fault, and never what cannot travel to a neuron."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dialects import messages
from inference.dialects.messages import count
from tests.inference.messages.test_request import CALL, RESULT, SCHEMA, TOOL, text
from tests.inference.spoilt_bodies import ODD, places, read_or_refused, spoilt

GOOD: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "system": [text("s"), {"type": "note", "n": [1]}],
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, text("a"), CALL]},
        {"role": "user", "content": [{**RESULT, "content": [text("r")]}, text("b")]},
        {"role": "system", "content": "t"},
        {"role": "assistant", "content": [text("c")]},
    ],
    "tools": [TOOL, {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}, {"type": "web_search_1"}],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "stop_sequences": ["x"],
    "stream": True,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "chat_template_kwargs": {"a": [1, {"b": None}]},
}

PLACES = list(places(GOOD))


@settings(max_examples=int(os.environ.get("HELEXA_EXAMPLES", "300")))
@given(path=st.sampled_from(PLACES), value=st.sampled_from(ODD), counts=st.booleans())
def test_a_spoilt_body_is_read_or_refused_by_name(path: tuple[Any, ...], value: str, counts: bool) -> None:
    read_or_refused(count.parse if counts else messages.parse, spoilt(GOOD, path, value))


def test_the_body_that_is_spoilt_is_a_good_one() -> None:
    assert messages.parse(msgspec.json.encode(GOOD), lambda name: None).continue_last
