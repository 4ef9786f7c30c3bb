"""Whatever a Messages body holds, it is read or refused: never a fault, and never what cannot travel to a neuron."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import wire
from inference.dialects import messages, messages_count
from inference.refusals import Refusal
from tests.inference.test_messages import CALL, RESULT, SCHEMA, TOOL, text

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

#: Spellings of values that nobody expects, put in as text: some of them are no JSON.
ODD = """
null true 0 -1 5 1.5 1e400 -0.0 NaN Infinity "" "x" "\\u0000" "\\ud800" [] {} [[]] [""] [null] { ] "
[{"type":5}] {"type":"text"} {"type":"image"} {"type":"tool_use","id":"a","name":"b","input":[]}
""".split()  # noqa: SIM905 - a row of words reads better
ODD += ["9" * 40, "9" * 5000, f'"{"y" * 2000}"', "[" * 2000 + "]" * 2000, '{"a":' * 900 + "1" + "}" * 900]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a body."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


PLACES = list(places(GOOD))


def spoilt(path: tuple[Any, ...], value: str) -> bytes:
    body = copy.deepcopy(GOOD)
    owner = body
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = "PUT HERE"
    return msgspec.json.encode(body).replace(b'"PUT HERE"', value.encode())


@settings(
    max_examples=int(os.environ.get("HELEXA_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(path=st.sampled_from(PLACES), value=st.sampled_from(ODD), counts=st.booleans())
def test_a_spoilt_body_is_read_or_refused_by_name(path: tuple[Any, ...], value: str, counts: bool) -> None:
    parse = messages_count.parse if counts else messages.parse
    try:
        request = parse(spoilt(path, value), lambda name: None)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017 - either is right
        return
    order = wire.Order("g", "b", request.generation("a", max_tokens=5, granted=7, account="c", key="k"))
    assert wire.decode_orders(wire.together([wire.encode_order(order)])) == [order]


def test_the_body_that_is_spoilt_is_a_good_one() -> None:
    assert messages.parse(msgspec.json.encode(GOOD), lambda name: None).continue_last
