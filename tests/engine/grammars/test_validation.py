"""Whether a text satisfies a schema: the first keyword that it does not, within a bound on the work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.engine.grammars.validation import UndecidedError, unmet_keyword


def unmet(schema: Any, value: Any) -> str | None:
    return unmet_keyword(json.dumps(schema), json.dumps(value))


@pytest.mark.parametrize(
    ("schema", "met", "not_met"),
    [
        ({"uniqueItems": True}, [1, "1", {"a": 1}], [{"a": 1, "b": 2}, {"b": 2, "a": 1}]),
        ({"not": {"type": "string"}}, 1, "one"),
        ({"pattern": "^(?!ab)[a-c]+$"}, "cab", "abc"),
        ({"contains": {"const": 3}}, [1, 3], [1, 2]),
        ({"dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
        ({"if": {"minimum": 3}, "then": {"multipleOf": 2}}, 4, 5),
        ({"$ref": "#/$defs/few", "$defs": {"few": {"maxProperties": 1}}}, {"a": 1}, {"a": 1, "b": 1}),
    ],
)
def test_the_keyword_that_is_not_satisfied(schema: Any, met: Any, not_met: Any) -> None:
    assert unmet(schema, met) is None
    assert unmet(schema, not_met) in {*schema, "multipleOf", "maxProperties"}


def twice_as_often(depth: int) -> dict[str, Any]:
    """Each definition is looked at twice as often as the one before it."""
    both = [{"allOf": [{"$ref": f"#/$defs/{at + 1}"}] * 2} for at in range(depth)]
    return {"$ref": "#/$defs/0", "$defs": {str(at): schema for at, schema in enumerate([*both, {"type": "object"}])}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (twice_as_often(60), {}),
        ({"pattern": "^(a|a|aa)+$"}, "a" * 60 + "!"),
        ({"patternProperties": {"^(a+)+$": True}, "additionalProperties": False}, {"a" * 60 + "!": 1}),
        ({"$ref": "#"}, {}),
        ({"$ref": "https://schemas.example/one.json"}, {}),
        ({"$ref": "#/$defs/none"}, {}),
        ({"type": "no such type"}, {}),
        ({"pattern": "("}, "a"),
        ({"required": 3}, {}),
    ],
)
def test_what_cannot_be_decided_is_given_up(schema: Any, value: Any) -> None:
    with pytest.raises(UndecidedError):
        unmet(schema, value)


def test_a_text_that_is_no_json_is_given_up() -> None:
    with pytest.raises(UndecidedError):
        unmet_keyword("{}", '{"a"')
