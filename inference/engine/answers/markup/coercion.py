"""What a value that was written as text is by its tool's schema, as JSON (MISSION N7)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from inference.engine.answers.markup.json_calls import compact
from inference.engine.answers.markup.json_scanner import BrokenError

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")

#: References that lead to each other.
_LONGEST_CHAIN = 20

#: What a value without a schema may be, before it is a string.
_GUESSED = ["null", "boolean", "number", "object", "array"]


class Schemas:
    """The parameters of a request's tools, by name, each as JSON. They are read when the first value is coerced."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._read: dict[str, Any] = {}

    def coerce(self, tool: str, argument: str, text: str) -> str:
        """JSON of a value: of a type that the schema allows where the text is one, else of the text as a string.

        Without a schema, or one that says nothing of it, the type is guessed from the text.
        """
        schema = self._schema(tool)
        types = _types(_of_property(argument, _resolved(schema, schema)), schema) or _GUESSED
        found = (json_of(text, type_) for type_ in types if type_ != "string")
        return next((value for value in found if value is not None), _string(text))

    def _schema(self, tool: str) -> dict[str, Any]:
        if tool not in self._read:
            schema: Any = None
            with suppress(ValueError, RecursionError):
                schema = json.loads(self._parameters.get(tool, "{}"))
            self._read[tool] = schema if isinstance(schema, dict) else {}
        return self._read[tool]


def json_of(text: str, type_: str) -> str | None:
    """JSON of a type's value but a string that the text spells, None where it spells none."""
    stripped = text.strip()
    found: str | None = None
    match type_:
        case "null":
            found = "null" if stripped in ("null", "None") else None
        case "boolean":
            found = stripped.lower() if stripped.lower() in ("true", "false") else None
        case "integer":
            whole = _WHOLE.fullmatch(stripped)
            found = whole[1] if whole else stripped if _INTEGER.fullmatch(stripped) else None
        case "number":
            found = stripped if _NUMBER.fullmatch(stripped) else None
        case "object" | "array" if stripped[:1] == ("{" if type_ == "object" else "["):
            with suppress(BrokenError):
                found = compact(stripped)
    return found


def _of_property(name: str, schema: dict[str, Any]) -> Any:
    """What an object's schema says of one of its values: by its name, else as of all others."""
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    return properties.get(name, others) if isinstance(properties, dict) else others


def _types(schema: Any, root: dict[str, Any]) -> list[str]:
    """The types that a schema allows, none where it does not say."""
    types: list[str] = []
    waiting, seen = [_resolved(schema, root)], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        types += _stated(one)
        for alternatives in (one.get(keyword) for keyword in ("anyOf", "oneOf", "allOf")):
            if isinstance(alternatives, list):
                waiting += [_resolved(alternative, root) for alternative in alternatives]
    return types


def _stated(schema: dict[str, Any]) -> list[str]:
    """The types that a schema names itself, or by its values."""
    stated, values = schema.get("type"), schema.get("enum")
    null = ["null"] if schema.get("nullable") is True else []
    if isinstance(stated, str):
        return [stated, *null]
    if isinstance(stated, list):
        return [each for each in stated if isinstance(each, str)] + null
    if isinstance(values, list):
        return [_type_of(value) for value in values]
    return [_type_of(schema["const"])] if "const" in schema else null


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """What a `$ref` within the same schema leads to; nothing where it leads nowhere."""
    for _ in range(_LONGEST_CHAIN):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        schema = root
        for step in reference.removeprefix("#").split("/")[1:]:
            schema = schema.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
    return {}


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
