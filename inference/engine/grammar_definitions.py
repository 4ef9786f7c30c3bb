"""What clients ask for, written as llguidance takes it. None of these checks a grammar; compiling does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llguidance import LLMatcher

from inference.engine import multiples
from inference.engine.grammar import GrammarError
from inference.grammars import Grammar, JsonObject, JsonSchema, Regex, ToolCall

#: Of a client's own rules: nested repetitions take the square of their length to compile, here about a second.
_LONGEST_RULES = 16 * 1024

#: Of `multipleOf`, all of a schema together.
_MOST_REMAINDERS = 10_000

#: Enough to indent with; without a bound a model may write spaces to the end of its tokens.
_WHITESPACE = r"[ \t\r\n]{1,40}"


def definition(grammar: Grammar) -> str:
    """Raises GrammarError for what is no JSON where a schema is due, and for rules that are too long."""
    try:
        match grammar:
            case JsonObject():
                return json_schema('{"type": "object"}', strict=False)
            case JsonSchema():
                return json_schema(grammar.schema, strict=grammar.strict)
            case ToolCall():
                return tool_call(grammar.tools, strict=grammar.strict)
            case Regex():
                return str(LLMatcher.grammar_from_regex(_short(grammar.pattern)))
            case _:
                return lark(grammar.text)
    except UnicodeError as fault:
        raise GrammarError("The grammar holds half of a surrogate pair.") from fault
    except Exception:
        raise
    except BaseException as fault:  # a panic of the library is no Exception
        raise GrammarError("The grammar cannot be read.") from fault


def json_schema(schema: str, *, strict: bool) -> str:
    text = _checked(schema)
    try:
        return str(LLMatcher.grammar_from_json_schema(text, overrides=_options(strict)))
    except ValueError as fault:
        raise GrammarError(f"The schema cannot be read: {fault}") from fault


def tool_call(tools: Mapping[str, str], *, strict: bool) -> str:
    """A rule for each tool, because a `$ref` within a schema counts from that schema's root."""
    if not tools:
        raise GrammarError("There is no tool to call.")
    rules = ["start: " + " | ".join(f"tool_{number}" for number in range(len(tools)))]
    for number, (name, schema) in enumerate(tools.items()):
        opening = json.dumps(f'{{"name": {json.dumps(name)}, "arguments": ')
        rules.append(f'tool_{number}: {opening} arguments_{number} "}}"')
        rules.append(f"arguments_{number}: %json {_checked(schema, {'x-guidance': _options(strict)})}")
    return str(LLMatcher.grammar_from_lark("\n".join(rules)))


def lark(text: str) -> str:
    if "%json" in text:  # what is checked of a schema would not be of this one
        raise GrammarError("A grammar cannot hold a JSON schema: send the schema itself.")
    return str(LLMatcher.grammar_from_lark(_short(text)))


def _checked(schema: str, more: Mapping[str, Any] | None = None) -> str:
    """The schema as plain JSON, with what is put into it. Raises GrammarError where it is no object."""
    try:
        read = json.loads(schema)
        if not isinstance(read, dict):
            raise GrammarError("The schema is no JSON object.")
        if multiples.states(read) > _MOST_REMAINDERS:
            raise GrammarError("The numbers of `multipleOf` are too large for a grammar, or have too little in common.")
        return json.dumps({**read, **(more or {})})
    except RecursionError:
        raise GrammarError("The schema is nested too deeply.") from None
    except json.JSONDecodeError as fault:
        raise GrammarError(f"The schema is no JSON: {fault}.") from fault


def _short(text: str) -> str:
    if len(text) > _LONGEST_RULES:
        raise GrammarError(f"The grammar is longer than {_LONGEST_RULES // 1024} KiB: make it smaller.")
    return text


def _options(strict: bool) -> Any:
    return {"lenient": not strict, "whitespace_pattern": _WHITESPACE}
