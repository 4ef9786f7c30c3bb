"""Patterns of a JSON schema that no grammar can hold: JavaScript's regular expressions look around and refer back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: An escape, a class of characters, or a look around. No part of it is read twice, however it is cut off.
_PART = re.compile(r"\\(?P<escaped>.)|\[(?:\\.|[^\]\\])*+\]?|(?P<look>\(\?<?[=!])", re.DOTALL)
#: What refers back, the ends of words, and control characters by their letters.
_BEYOND = frozenset("0123456789kbBc")

#: Keywords whose value holds schemas by names, which may be those of keywords.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
#: Keywords whose value is no schema.
_DATA = frozenset({"const", "enum", "default", "examples"})


def beyond_grammars(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each pattern that cannot be enforced, with its keyword."""
    for part in _schemas(schema):
        pattern, names = part.get("pattern"), part.get("patternProperties")
        if isinstance(pattern, str) and _is_beyond(pattern):
            yield "pattern", pattern
        if isinstance(names, dict):
            yield from (("patternProperties", name) for name in names if _is_beyond(name))


def leave_out(schema: dict[str, Any]) -> None:
    """Take them out of a schema, which then holds for more values and for none less."""
    for part in _schemas(schema):
        pattern, names = part.get("pattern"), part.get("patternProperties")
        if isinstance(pattern, str) and _is_beyond(pattern):
            del part["pattern"]
        if isinstance(names, dict) and any(map(_is_beyond, names)):
            part["patternProperties"] = {name: inner for name, inner in names.items() if not _is_beyond(name)}
            part.pop("additionalProperties", None)  # which would forbid what they allowed


def _schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all within it, each before those that it holds."""
    left: list[Any] = [schema]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            yield part
            for keyword, value in part.items():
                if keyword in _NAMED and isinstance(value, dict):
                    left += value.values()
                elif keyword not in _DATA:
                    left.append(value)


def _is_beyond(pattern: str) -> bool:
    return any(part["look"] or part["escaped"] in _BEYOND for part in _PART.finditer(pattern) if part.lastgroup)
