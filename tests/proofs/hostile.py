"""Grammars that are meant to cost much: to compile, to mask, or to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from inference.grammars import JsonSchema, Lark, Regex
from inference.requests import Tool, ToolUse

_PATTERNS = {
    "nested counts": "((a{1,50}){1,50}){1,50}",
    "nested stars": "(((a*)*)*)*b",
    "ambiguous counts": "(a|aa|aaa){1,200}",
    "a window back": "(.*a.{20}){3}",
    "a long window back": "[ab]*a[ab]{60}",
    "two windows": ".*a.{14}b.*c.{14}d",
    "unicode classes": r"[\p{L}\p{N}]{1,500}\p{Greek}*",
    "many unicode classes": "".join(rf"\p{{{name}}}{{0,40}}" for name in ["L", "N", "P", "S", "Lu", "Ll", "Han"]),
    "negated unicode": r"[^\p{L}]{1,300}[^\p{N}]{1,300}",
    "case folding": "(?i)" + "".join(chr(letter) for letter in range(0x3B1, 0x3C9)) * 20,
    "dot counts": ".{1,5000}",
    "long alternation": "|".join(f"word{number}x{number}" for number in range(1200)),
    "shared endings": "|".join("a" * number + "b" for number in range(150)),
    "many options": "a?" * 500 + "a" * 500,
    "exact counts": "(ab{200}){80}",
}

_RULES = {
    "deep brackets": "start: " + "(" * 3000 + '"a"' + ")" * 3000,
    "left recursion": 'start: start "a" | start start | "a"',
    "all ambiguous": 'start: a a a a a a\na: "x" | a a | "x" a | a "x" |',
    "empty loops": 'start: (a?)*\na: b*\nb: "x"?',
    "mutual recursion": 'start: a\na: b | "x" a "x"\nb: c | "y" b "y"\nc: a a | "z"',
    "a chain of rules": "start: r0\n" + "\n".join(f"r{n}: r{n + 1}" for n in range(900)) + '\nr900: "x"',
    "branching rules": "start: r0\n" + "\n".join(f"r{n}: r{n + 1} r{n + 1}" for n in range(40)) + '\nr40: "x"',
    "branching alternatives": "start: r0\n"
    + "\n".join(f'r{n}: r{n + 1} "a" | r{n + 1} "b" | r{n + 1}' for n in range(200))
    + '\nr200: "x"',
    "counted rules": 'start: a{1,4000}\na: "x" | "y" | "xy" | "yx"',
    "many terminals": "start: "
    + " | ".join(f"T{n}" for n in range(400))
    + "\n"
    + "\n".join(f"T{n}: /[a-z]*{n}[a-z]{{1,9}}/" for n in range(400)),
    "intersections": "start: T\nT: " + " & ".join(f"/.*{letter}.*/" for letter in "abcdefghijkl"),
    "complements": "start: T\nT: ~/(.*a.{12}|b.{12}.*)/ & /[ab]{10,40}/",
}


def _schemas() -> Iterator[tuple[str, Any]]:
    word = {"type": "string"}
    yield "huge enum", {"enum": [f"value {number}" for number in range(7000)]}
    yield "huge enum of prefixes", {"enum": ["a" * number for number in range(1, 480)]}
    yield "300 branches", {"anyOf": [_many(f"k{number}_") for number in range(300)]}
    yield "300 equal branches", {"anyOf": [_many("k") for _ in range(300)]}
    yield "300 patterns", {"anyOf": [{"type": "string", "pattern": f".*a{n}.*b{{3,{n % 20 + 4}}}"} for n in range(300)]}
    yield "huge string bound", {"type": "string", "minLength": 100_000, "maxLength": 2**31}
    yield "huge array bound", {"type": "array", "items": word, "minItems": 50_000, "maxItems": 2**31}
    yield "huge number bound", {"type": "integer", "minimum": -(10**400), "maximum": 10**400}
    yield "tiny step", {"type": "number", "multipleOf": 1e-9, "minimum": 0, "maximum": 1e9}
    yield "odd step", {"type": "integer", "multipleOf": 999_983}
    yield "two odd steps", {"allOf": [{"type": "integer", "multipleOf": 997}, {"multipleOf": 991}]}
    yield "itself", {"$ref": "#"}
    yield "itself twice", {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}
    yield "a ring", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    yield "a chain of references", _chain(1900)
    yield "a chain of all", {"allOf": [{"type": "object", "properties": {f"k{n}": word}} for n in range(400)]}
    yield "all of any", {"allOf": [{"anyOf": [_one(f"k{n}{m}") for m in range(6)]} for n in range(12)]}
    yield "a doubling tree", _doubling(24)
    yield "many properties", _many("property ", 2500)
    yield "many optional properties", {"type": "object", "properties": {f"k{n}": word for n in range(1500)}}
    yield "many patterns of keys", {"patternProperties": {f"^.*k{n}.*$": {"type": "integer"} for n in range(150)}}
    yield "deep object", _deep(120)


def hostile() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names, and the fields of a request."""
    for name, pattern in _PATTERNS.items():
        yield f"regex: {name}", {"grammar": Regex(pattern)}
    for name, rules in _RULES.items():
        yield f"lark: {name}", {"grammar": Lark(rules)}
    for name, schema in _schemas():
        yield f"schema: {name}", {"grammar": JsonSchema(json.dumps(schema), strict=True)}
    window = '{"properties": {"a": {"pattern": "^[ab]*a[ab]{60}$"}}}'  # the prompt that tells of them has to fit
    tools = [Tool(f"tool {number}", parameters=window) for number in range(4)]
    yield "tools: four", {"tool_use": ToolUse(tools=tools, choice="required")}


def _one(key: str) -> dict[str, Any]:
    return {"type": "object", "properties": {key: {"type": "integer"}}, "required": [key]}


def _many(prefix: str, count: int = 5) -> dict[str, Any]:
    keys = [f"{prefix}{number}" for number in range(count)]
    return {"type": "object", "properties": {key: {"type": "string", "pattern": "^a.*b{3,9}$"} for key in keys}}


def _chain(links: int) -> dict[str, Any]:
    chain = {f"r{n}": {"type": "array", "items": {"$ref": f"#/$defs/r{n + 1}"}} for n in range(links)}
    return {"$ref": "#/$defs/r0", "$defs": {**chain, f"r{links}": {"type": "integer"}}}


def _doubling(depth: int) -> dict[str, Any]:
    """Each definition holds the next one twice: 2**depth of them where references are written out."""
    pair = {
        f"r{n}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/r{n + 1}"}] * 2, "minItems": 2, "items": False}
        for n in range(depth)
    }
    return {"$ref": "#/$defs/r0", "$defs": {**pair, f"r{depth}": {"type": "integer"}}}


def _deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = (
            {"type": "object", "properties": {"a": schema, "b": schema}}
            if depth < 3
            else {
                "type": "object",
                "properties": {"a": schema},
                "required": ["a"],
            }
        )
    return schema
