"""What clients ask for, written as llguidance takes it. None of these checks a grammar; compiling does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llguidance import LLMatcher

from inference.engine.grammar import GrammarError

Schema = Mapping[str, Any]

#: Of a client's own rules: nested repetitions take the square of their length to compile, here about a second.
_LONGEST_RULES = 16 * 1024

#: Enough to indent with; without a bound a model may write spaces to the end of its tokens.
_WHITESPACE = r"[ \t\r\n]{1,40}"


def json_object() -> str:
    return json_schema({"type": "object"}, strict=False)


def json_schema(schema: Schema, *, strict: bool) -> str:
    """JSON of a schema. `strict` refuses keywords that cannot be enforced; without it, they are left out."""
    try:
        return str(LLMatcher.grammar_from_json_schema(_text(schema), overrides=_options(strict)))
    except ValueError as fault:
        raise GrammarError(f"The schema cannot be read: {fault}") from fault


def tool_call(tools: Mapping[str, Schema], *, strict: bool) -> str:
    """`{"name": .., "arguments": ..}` of one of the tools, each by its own schema of arguments.

    A rule for each, because a `$ref` within a schema counts from that schema's root.
    """
    rules = ["start: " + " | ".join(f"tool_{number}" for number in range(len(tools)))]
    for number, (name, schema) in enumerate(tools.items()):
        opening = json.dumps(f'{{"name": {json.dumps(name)}, "arguments": ')
        rules.append(f'tool_{number}: {opening} arguments_{number} "}}"')
        rules.append(f"arguments_{number}: %json {_text({**schema, 'x-guidance': _options(strict)})}")
    return str(LLMatcher.grammar_from_lark("\n".join(rules)))


def regex(pattern: str) -> str:
    return str(LLMatcher.grammar_from_regex(_short(pattern)))


def lark(text: str) -> str:
    return str(LLMatcher.grammar_from_lark(_short(text)))


def _short(text: str) -> str:
    if len(text) > _LONGEST_RULES:
        raise GrammarError(f"The grammar is longer than {_LONGEST_RULES // 1024} KiB: make it smaller.")
    return text


def _options(strict: bool) -> Any:
    return {"lenient": not strict, "whitespace_pattern": _WHITESPACE}


def _text(schema: Schema) -> str:
    try:
        return json.dumps(schema)
    except RecursionError:
        raise GrammarError("The schema is nested too deeply.") from None
