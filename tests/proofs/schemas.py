"""JSON schemas of many kinds, all drawn from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]

WORDS = ["id", "name", "größe", "名前", "emoji 🙂", "with space", 'quo"te', "back\\slash", "a/b", "$x", "", "ключ"]


def schemas(count: int, *, seed: int = 0) -> Iterator[tuple[str, Schema]]:
    """So many schemas, each with the name of its kind; all of them can be enforced in whole."""
    dice = random.Random(seed)
    for number in range(count):
        kind = _KINDS[number % len(_KINDS)]
        yield kind.__name__, kind(dice)


def closed(properties: Schema, *, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def flat(dice: random.Random) -> Schema:
    names = dice.sample(WORDS, dice.randint(1, 4))
    return closed({name: _scalar(dice) for name in names})


def optional(dice: random.Random) -> Schema:
    names = dice.sample(WORDS, 4)
    return closed({name: _scalar(dice) for name in names}, required=dice.sample(names, dice.randint(0, 3)))


def nested(dice: random.Random) -> Schema:
    schema = _scalar(dice)
    for _ in range(dice.randint(2, 12)):
        one = dice.random() < 0.5
        schema = closed({dice.choice(WORDS): schema}) if one else {"type": "array", "items": schema, "maxItems": 2}
    return schema


def enum(dice: random.Random) -> Schema:
    return {"enum": dice.sample([*WORDS, 0, -1.5, True, None, [1, "a"], {"k": [None]}], dice.randint(1, 8))}


def const(dice: random.Random) -> Schema:
    return closed({"kind": {"const": dice.choice(WORDS)}, "value": {"const": dice.choice([1, None, False, "ü"])}})


def anchored_pattern(dice: random.Random) -> Schema:
    return {
        "type": "string",
        "pattern": dice.choice(["^[a-z]{2,5}$", r"^\d{3}-\d{4}$", "^(ja|nein|да)$", "^[A-F0-9]{8}$"]),
    }


def open_pattern(dice: random.Random) -> Schema:
    pattern = dice.choice(["[a-z]", "^ab", "yz$", r"\d\d", "ü+"])
    return {"type": "string", "pattern": pattern, "maxLength": dice.randint(10, 30)}


def integer_bounds(dice: random.Random) -> Schema:
    low = dice.choice([-(10**12), -100, -7, 0, 1, 99])
    return {"type": "integer", "minimum": low, "maximum": low + dice.choice([0, 3, 250, 10**9])}


def number_bounds(dice: random.Random) -> Schema:
    low = dice.choice([-1000.5, -0.25, 3.125])  # llguidance 1.9.1 takes 0 for above 0 and at most less than 1
    return closed({"x": {"type": "number", "exclusiveMinimum": low, "maximum": low + dice.choice([0.5, 10, 1e6])}})


def array_bounds(dice: random.Random) -> Schema:
    least = dice.randint(0, 4)
    return {"type": "array", "items": _scalar(dice), "minItems": least, "maxItems": least + dice.randint(0, 3)}


def tuple_items(dice: random.Random) -> Schema:
    items = [_scalar(dice) for _ in range(dice.randint(1, 4))]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


def any_of(dice: random.Random) -> Schema:
    return {"anyOf": [closed({f"k{number}": _scalar(dice)}) for number in range(dice.randint(2, 6))]}


def several_types(dice: random.Random) -> Schema:
    types = dice.sample(["boolean", "null", "integer"], 2)
    return closed({"a": {"type": types}, "b": {"type": [*types, "string"], "maxLength": 5}})


def referring(dice: random.Random) -> Schema:
    point = closed({"x": _integer(dice), "y": _integer(dice)})
    to_point = {"$ref": "#/$defs/point"}
    return closed({"from": to_point, "to": to_point}) | {"$defs": {"point": point}}


def recursive_tree(dice: random.Random) -> Schema:
    children = {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}
    return closed({"value": _integer(dice), "children": children}, required=["value"])


def recursive_list(dice: random.Random) -> Schema:
    node = closed({"head": _scalar(dice), "tail": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}})
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def string_format(dice: random.Random) -> Schema:
    kinds = ["date", "time", "date-time", "uuid", "ipv4", "email", "hostname"]
    return closed({"value": {"type": "string", "format": dice.choice(kinds), "maxLength": 40}})


def map_of(dice: random.Random) -> Schema:
    return {"type": "object", "additionalProperties": _integer(dice), "maxProperties": dice.randint(1, 3)}


def pattern_properties(dice: random.Random) -> Schema:
    return {
        "type": "object",
        "patternProperties": {"^n_[a-z]{1,3}$": _integer(dice), "^s_[a-z]{1,3}$": _string(dice)},
        "additionalProperties": False,
    }


def all_of(dice: random.Random) -> Schema:
    return {"allOf": [{"type": "integer", "minimum": dice.randint(0, 9)}, {"maximum": dice.randint(10, 99)}]}


def _scalar(dice: random.Random) -> Schema:
    return dice.choice([_integer, _string, lambda _: {"type": "boolean"}, lambda _: {"type": "null"}, enum])(dice)


def _integer(dice: random.Random) -> Schema:
    low = dice.randint(-50, 50)
    return {"type": "integer", "minimum": low, "maximum": low + dice.randint(0, 1000)}


def _string(dice: random.Random) -> Schema:
    least = dice.randint(0, 3)
    return {"type": "string", "minLength": least, "maxLength": least + dice.randint(0, 12)}


_KINDS: list[Callable[[random.Random], Schema]] = [
    flat,
    optional,
    nested,
    enum,
    const,
    anchored_pattern,
    open_pattern,
    integer_bounds,
    number_bounds,
    array_bounds,
    tuple_items,
    any_of,
    several_types,
    referring,
    recursive_tree,
    recursive_list,
    string_format,
    map_of,
    pattern_properties,
    all_of,
]
