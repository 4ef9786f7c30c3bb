"""What clients ask for, written as llguidance takes it. None of these checks a grammar; compiling does."""

from __future__ import annotations

import json
from typing import Any

from llguidance import LLMatcher

from inference.engine.grammars import multiples, patterns
from inference.engine.grammars.grammar import GrammarError
from inference.grammars import Grammar, JsonObject, JsonSchema, Regex

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
    text = json.dumps(checked_schema(schema, strict=strict))
    try:
        return str(LLMatcher.grammar_from_json_schema(text, overrides=options(strict=strict)))
    except ValueError as fault:
        raise GrammarError(f"The schema cannot be read: {fault}") from fault


def lark(text: str) -> str:
    if "%json" in text:  # what is checked of a schema would not be of this one
        raise GrammarError("A grammar cannot hold a JSON schema: send the schema itself.")
    return str(LLMatcher.grammar_from_lark(_short(text)))


def checked_schema(schema: str, *, strict: bool) -> dict[str, Any]:
    """A schema that was sent as JSON, without the patterns that cannot be enforced.

    Raises GrammarError where it is no object, or nested too deeply to be written, and for such a pattern if `strict`.
    """
    try:
        read = json.loads(schema)
        if not isinstance(read, dict):
            raise GrammarError("The schema is no JSON object.")
        if multiples.states(read) > _MOST_REMAINDERS:
            raise GrammarError("The numbers of `multipleOf` are too large for a grammar, or have too little in common.")
        if strict and (found := next(patterns.beyond_grammars(read), None)):
            keyword, pattern = found
            raise GrammarError(f"The `{keyword}` {pattern[:200]!r} cannot be enforced: it looks around or refers back.")
        patterns.leave_out(read)
        json.dumps(read)
    except RecursionError:
        raise GrammarError("The schema is nested too deeply.") from None
    except json.JSONDecodeError as fault:
        raise GrammarError(f"The schema is no JSON: {fault}.") from fault
    return read


def _short(text: str) -> str:
    if len(text) > _LONGEST_RULES:
        raise GrammarError(f"The grammar is longer than {_LONGEST_RULES // 1024} KiB: make it smaller.")
    return text


def options(*, strict: bool) -> Any:
    """Whether a keyword that cannot be enforced is refused or left out, and how much room a model may leave."""
    return {"lenient": not strict, "whitespace_pattern": _WHITESPACE}
