"""Good bodies with one value put in that nobody expects: what must be read or refused by name, and can then travel."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec

from inference import wire
from inference.dialects.dialect import Parse
from inference.dialects.parsed import Terms
from inference.refusals import Refusal

#: Spellings of values that nobody expects, put in as text: some of them are no JSON.
ODD = """
null true 0 -1 5 1.5 1e400 -0.0 NaN Infinity "" "x" "\\u0000" "\\ud800" [] {} [[]] [""] [null] { ] "
[{"type":5}] {"type":"text"} {"type":"image"} {"type":"tool_use","id":"a","name":"b","input":[]}
{"type":"function"} [{"type":"function","function":{"name":5}}] {"5":1} {"5":1e99}
""".split()  # noqa: SIM905 - a row of words reads better
ODD += ["9" * 40, "9" * 5000, f'"{"y" * 2000}"', "[" * 2000 + "]" * 2000, '{"a":' * 900 + "1" + "}" * 900]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a body."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def spoilt(good: dict[str, Any], path: tuple[Any, ...], value: str) -> bytes:
    body = copy.deepcopy(good)
    owner = body
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = "PUT HERE"
    return msgspec.json.encode(body).replace(b'"PUT HERE"', value.encode())


def read_or_refused(parse: Parse, body: bytes) -> None:
    """Fail where a body is neither read, so that a neuron gets all of it, nor refused as the client's fault."""
    try:
        request = parse(body, lambda name: None)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017 - either is right
        return
    order = wire.Order("g", "b", request.generation(Terms("a", max_tokens=5, granted=7, account="c", key="k")))
    assert wire.decode_orders(wire.together([wire.encode_order(order)])) == [order]
