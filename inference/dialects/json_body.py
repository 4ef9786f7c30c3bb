"""A request body as JSON: one object, UTF-8, bounded in depth. Whatever is wrong is a 400 that names the field."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from inference.refusals import Refusal, invalid

Fields = TypeVar("Fields")

#: msgspec ends its message with the place: "Expected `int`, got `str` - at `$.max_tokens`". An entry of a mapping it
#: calls `[...]`, a key "`key` in" its mapping; the mapping is what its author looks for.
_PLACE = re.compile(
    r"\A(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<where>[^`]*?)(?:\[\.\.\.\][^`]*)?`)?\Z", re.DOTALL
)
_MISSING = re.compile(r"\AObject missing required field `(?P<name>\w+)`\Z")
_BYTE = re.compile(r"\(byte (\d+)\)")
#: With the beginning of its value, which may be a text that is cut off.
_LAST_KEY = re.compile(rb'"(\w+)"\s*+:[^"]*+(?:"(?:[^"\\]|\\.)*+)?\Z', re.DOTALL)
#: An escape, `half` where it is a surrogate without its other one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
#: Objects and arrays in each other, in what is stored and told again. Everybody on the way reads it by recursion.
DEEPEST = 128
_anything = msgspec.json.Decoder(Any)


def decode_object(body: bytes, decoder: msgspec.json.Decoder[Fields]) -> Fields:
    """The fields of a JSON object. Raises Refusal (400) with `param` set to the place of the fault."""
    try:
        body.decode()  # also inside fields that nobody reads
        return decoder.decode(body)
    except UnicodeDecodeError as fault:
        raise invalid("The request body is not valid UTF-8.") from fault
    except RecursionError as fault:
        raise invalid("The request body is nested too deeply.") from fault
    except msgspec.ValidationError as fault:
        raise _wrong_field(str(fault)) from fault
    except msgspec.DecodeError as fault:
        raise _malformed(body, str(fault)) from fault


def decode_part(part: msgspec.Raw, decoder: msgspec.json.Decoder[Fields], at: str) -> Fields:
    """What was kept as it came until it was known what it is. `at` is its place in the body."""
    try:
        return decoder.decode(part)
    except RecursionError as fault:
        raise invalid(f"The field `{at}` is nested too deeply.", at) from fault
    except msgspec.DecodeError as fault:  # of the wrong type or out of range: that it is JSON has been seen
        raise _wrong_field(str(fault), at) from fault


def require_shallow(part: msgspec.Raw, at: str) -> None:
    """Raises Refusal (400) for a part that is nested too deep for all who write it out again, and read that."""
    written = bytes(part)
    if written.count(b"{") + written.count(b"[") <= DEEPEST:  # as nearly all are: it need not be read
        return
    if is_deeper(decode_part(part, _anything, at), DEEPEST):
        raise invalid(f"The field `{at}` is nested more than {DEEPEST} deep.", at)


def is_deeper(value: Any, levels: int) -> bool:
    """Whether there are more objects and arrays in each other than that, `value` itself among them."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        level = [each for each in level if isinstance(each, dict | list)]
    return bool(level)


def _wrong_field(message: str, at: str = "") -> Refusal:
    found = _PLACE.match(message)
    what, where = (found["what"], found["where"]) if found else (message, None)
    if at:
        where = f"{at}{'' if not where or where.startswith('[') else '.'}{where or ''}"
    if not where:
        return invalid(f"The request body must be a JSON object: {what}.")
    if missing := _MISSING.match(what):
        where = f"{where}.{missing['name']}"
        return invalid(f"The field `{where}` is missing.", where)
    of_a_key = "a key of it: " if found and found["key"] else ""
    return invalid(f"The field `{where}` is wrong: {of_a_key}{what}.", where)


def _malformed(body: bytes, message: str) -> Refusal:
    """Broken JSON (NaN, say) has no path; the last key before the fault is what its author looks for."""
    at = _BYTE.search(message)
    place = int(at[1]) if at else None
    half = _half_of_a_pair(body)
    if half is not None and (place is None or half < place):
        place, message = half, "a `\\u` escape is one half of a surrogate pair, which is no character"
    key = None if place is None else _LAST_KEY.search(body[:place])
    name = key[1].decode() if key else None
    return invalid(f"The request body is not valid JSON{f' at `{name}`' if name else ''}: {message}", name)


def _half_of_a_pair(body: bytes) -> int | None:
    """The place of the first one, of which the decoder itself says many things: that the body is cut off, say."""
    return next((escape.start() for escape in _ESCAPE.finditer(body) if escape["half"]), None)
