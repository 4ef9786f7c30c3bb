"""Whether a JSON text satisfies a schema, within a bound on the work: both are a client's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

#: Keywords looked at, of all places of a text together; some 5 us each.
_MOST_KEYWORDS = 20_000
_PATTERN_S = 0.1
#: What jsonschema looks up with `re`, which can be kept busy without end and cannot be interrupted.
_UNBOUNDED = '"patternProperties"'


class UndecidedError(Exception):
    """It cannot be said, or not within the bound."""


def unmet_keyword(schema: str, text: str) -> str | None:
    """The first keyword of a schema that a text does not satisfy; None where it satisfies them all.

    Raises UndecidedError. No reference out of the schema is followed.
    """
    if _UNBOUNDED in schema:
        raise UndecidedError("it has patterns for names")
    try:
        validator = _bounded()(json.loads(schema), registry=Registry())
        fault = next(validator.iter_errors(json.loads(text)), None)
    except (UndecidedError, RecursionError, TimeoutError, json.JSONDecodeError):
        raise UndecidedError("it takes too long, or the text is no JSON") from None
    except Exception as unreadable:  # whatever a schema that nobody checked makes of the library
        raise UndecidedError("the schema cannot be read") from unreadable
    return None if fault is None else str(fault.validator)


def _bounded() -> Any:
    """jsonschema's validator with a bound that is used up once."""
    left = _MOST_KEYWORDS

    def counted(keyword: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise UndecidedError
            return keyword(*arguments)

        return count

    keywords = {**Draft202012Validator.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique_items}
    return extend(Draft202012Validator, {name: counted(keyword) for name, keyword in keywords.items()})


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not regex.search(pattern, instance, timeout=_PATTERN_S):
        yield ValidationError("no match")


def _unique_items(validator: Any, unique: bool, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """jsonschema's own takes the square of the items, where they cannot be sorted."""
    if unique and validator.is_type(instance, "array"):
        spelt = {json.dumps(item, sort_keys=True) for item in instance}
        if len(spelt) < len(instance):
            yield ValidationError("two are alike")
