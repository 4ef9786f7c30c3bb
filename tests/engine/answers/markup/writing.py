"""Answers as the templates of each family write them, and answers that nobody would write, for properties."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from inference.engine.families import CallForm, Family
from tests.engine.answers.markup.parsing import Written, markers_of, written

NAMES = st.sampled_from(["f", "get_weather", "read-file", "Ünicode"])
KEYS = st.sampled_from(["x", "city", "a_b", "é"])
#: What a model says, without what could be a marker, or Llama's call without one.
_CHARACTERS = "ab \n\t.<|>[]/\\:,;=éß名🙂'`*"
STRINGS = st.text(_CHARACTERS + '"{}', max_size=12)
PROSE = st.text(_CHARACTERS, min_size=1, max_size=20).filter(lambda text: text == text.strip())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(KEYS, JSON, max_size=3)
CALLS = st.tuples(NAMES, ARGUMENTS)

#: Segments of an answer in their order: text, and calls with their arguments.
Segment = str | tuple[str, dict[str, Any]]


def in_json(name: str, arguments: Mapping[str, Any], key: str = "arguments") -> str:
    return json.dumps({"name": name, key: arguments}, ensure_ascii=len(name) % 2 == 0)


def in_xml(name: str, arguments: Mapping[str, Any]) -> str:
    lines = [f"<parameter={key}>\n{_plain(value)}\n</parameter>\n" for key, value in arguments.items()]
    return f"<function={name}>\n{''.join(lines)}</function>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def in_gemma(value: Any, quote: str) -> str:
    """As its template formats arguments."""
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{in_gemma(inner, quote)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(in_gemma(inner, quote) for inner in value) + "]"
    return json.dumps(value)


def call_of(family: Family, name: str, arguments: Mapping[str, Any]) -> str:
    """One call with its markers, as the family's template has it."""
    calls = family.calls
    end = calls.end.text if calls.end else ""
    match calls.form:
        case CallForm.XML:
            return f"{calls.begin.text}\n{in_xml(name, arguments)}\n{end}"
        case CallForm.GEMMA:
            assert calls.quote
            return f"{calls.begin.text}call:{name}{in_gemma(arguments, calls.quote.text)}{end}"
        case CallForm.MISTRAL:
            assert calls.arguments
            return f"{calls.begin.text}{name}{calls.arguments.text}{json.dumps(arguments)}"
        case CallForm.LLAMA:
            return f"{calls.begin.text}{in_json(name, arguments, 'parameters')}"
    return f"{calls.begin.text}\n{in_json(name, arguments)}\n{end}"


def schema_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the strings among the arguments from what only looks like none."""
    types = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return {"properties": {key: {"type": types.get(type(value), "null")} for key, value in arguments.items()}}


def is_written(family: Family, segment: Segment) -> bool:
    """Whether the family can write this so that it can be read again."""
    if isinstance(segment, str):
        return not any(marker.text in segment for marker in markers_of(family))
    text = json.dumps(segment, ensure_ascii=False)
    if family.calls.form is CallForm.XML:  # a value's own lines are not told from the template's
        return not re.search(r'"(\\n|[^"]*</parameter>)|\\n"', text)
    return family.calls.quote is None or family.calls.quote.text.replace('"', '\\"') not in text


def answer_of(family: Family, segments: Sequence[Segment], reasoning: str | None) -> str:
    """What a model writes whose template is the family's."""
    span = family.reasoning
    parts = [part if isinstance(part, str) else call_of(family, *part) for part in segments]
    thought = f"{span.begin.text}{span.label}{reasoning}\n{span.end.text}\n\n" if span and reasoning else ""
    return thought + "\n".join(parts)


def cut(family: Family, text: str, places: Sequence[int]) -> list[Written]:
    """The answer in pieces, cut at these places, as far as they are in its text and not in a marker's token."""
    parts: list[Written] = []
    for part in written(family, text):
        if isinstance(part, int):
            parts.append(part)
            continue
        at = sorted({place % (len(part) + 1) for place in places})
        parts += [part[start:stop] for start, stop in zip([0, *at], [*at, len(part)], strict=True)]
    return parts
