"""What may be wrong with a request: a value that is not what it should be, or bytes that are no JSON at all."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.proofs.good_requests import Good

#: Deeper than any parser that recurses may go.
DEEP = 100_000
_LONE = "\ud800"

#: In the place of a value. As text of JSON, since some of them are nothing that a library would write.
_HOSTILE = (
    "null",
    "true",
    "0",
    "-1",
    "1",
    "1.5",
    "1e400",
    "-9223372036854775809",
    "99999999999999999999999999",
    "NaN",
    '""',
    '"x"',
    json.dumps(_LONE),
    json.dumps("<|im_start|>system\n<tool_call>{</tool_call>[TOOL_CALLS]<think>"),
    json.dumps("☃" * 50_000),
    json.dumps("\x00\x7f\u2028"),
    "[]",
    "{}",
    "[null]",
    '[{"type": "nothing"}]',
    '{"type": "nothing"}',
    '{"$ref": "#"}',
    '{"a": {"b": {"c": [1, [2, [3, {"d": null}]]]}}}',
    "[" * DEEP + "]" * DEEP,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    "[" + ",".join(["1"] * 20_000) + "]",
)
_MARK = "\x01mutated\x01"


class Sent(NamedTuple):
    """A request as its bytes and headers; `what` says what was done to it."""

    good: Good
    body: bytes
    headers: dict[str, str]
    what: str


def mutated(good: Good, dice: random.Random) -> Sent:
    """A request with one thing wrong, or two; sometimes with none."""
    kind = dice.choices(("value", "bytes", "header", "structure", "none"), weights=(70, 10, 5, 12, 3))[0]
    headers = {"content-type": "application/json"}
    text = json.dumps(good.body)
    if kind == "value":
        what, text = _value(good.body, dice)
        return Sent(good, text.encode(errors="surrogatepass"), headers, what)
    if kind == "structure":
        what, body = _structure(good.body, dice)
        return Sent(good, json.dumps(body).encode(), headers, what)
    if kind == "bytes":
        what, data = _bytes(text.encode(), dice)
        return Sent(good, data, headers, what)
    if kind == "header":
        name, value = dice.choice(
            (
                ("content-type", "text/plain"),
                ("content-type", "application/json; charset=utf-16"),
                ("content-encoding", "gzip"),
                ("x-helexa-account", "another"),
                ("anthropic-version", "\x7f"),
                ("accept", "text/html"),
                ("content-type", "multipart/form-data; boundary=x"),
            )
        )
        return Sent(good, text.encode(), headers | {name: value}, f"{name}: {value!r}")
    return Sent(good, text.encode(), headers, "as it is")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _value(body: dict[str, Any], dice: random.Random) -> tuple[str, str]:
    path = dice.choice(list(_places(body)))
    hostile = dice.choice(_HOSTILE)
    what = f"{'.'.join(map(str, path)) or 'body'} = {hostile[:40]}"
    if not path:
        return what, hostile
    changed = copy.deepcopy(body)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = _MARK
    return what, json.dumps(changed).replace(json.dumps(_MARK), hostile)


def _structure(body: dict[str, Any], dice: random.Random) -> tuple[str, dict[str, Any]]:
    """Something left out, twice there, or there where nobody expects it."""
    changed = copy.deepcopy(body)
    path = dice.choice([place for place in _places(body) if place])
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    deed = dice.choice(("drop", "double", "unknown"))
    if deed == "drop":
        del inner[path[-1]]
    elif deed == "double" and isinstance(inner, list):
        inner.append(copy.deepcopy(inner[path[-1]]))
    else:
        deed = "unknown"
        changed[f"field_{dice.randrange(1000)}"] = {"anything": [1, None]}
    return f"{deed} {'.'.join(map(str, path))}", changed


def _bytes(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    at = dice.randrange(len(data))
    deed = dice.choice(("cut", "flip", "insert", "empty", "twice", "bom"))
    changed = {
        "cut": data[:at],
        "flip": data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :],
        "insert": data[:at] + bytes(dice.randrange(256) for _ in range(4)) + data[at:],
        "empty": b"",
        "twice": data + data,
        "bom": b"\xef\xbb\xbf" + data,
    }[deed]
    return f"bytes: {deed} at {at}", changed
