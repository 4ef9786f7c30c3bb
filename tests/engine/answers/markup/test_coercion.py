"""Values that are written as text become what their tool's schema says, and are kept as text where they are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.engine.answers.markup import Schemas
from tests.engine.answers.markup.parsing import XML, parsed, told

POINT = {"type": "object", "properties": {"x": {"type": "integer"}}}


def coerced(schema: Any, text: str, **root: Any) -> Any:
    tool = {"type": "object", "properties": {} if schema is None else {"x": schema}, **root}
    return json.loads(Schemas({"f": json.dumps(tool)}).coerce("f", "x", text))


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, " a\n", " a\n"),
        ({"type": "integer"}, " 5 ", 5),
        ({"type": "integer"}, "5.0", 5),
        ({"type": "integer"}, "-0", 0),
        ({"type": "integer"}, "5.5", "5.5"),
        ({"type": "integer"}, "five", "five"),
        ({"type": "integer"}, "1_000", "1_000"),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "-1.5e3", -1500.0),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "number"}, "0x10", "0x10"),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "object"}, ' {"a": [1]} ', {"a": [1]}),
        ({"type": "object"}, "[1]", "[1]"),
        ({"type": "object"}, '{"a": }', '{"a": }'),
        ({"type": "array"}, '["a", {}]', ["a", {}]),
        ({"type": "array"}, "a, b", "a, b"),
        ({"type": "null"}, "null", None),
        ({"type": ["integer", "null"]}, "None", None),
        ({"type": ["string", "integer"]}, "5", 5),
        ({"type": "integer", "nullable": True}, "null", None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "5", "5"),
        ({"oneOf": [{"$ref": "#/$defs/point"}, {"type": "string"}]}, '{"x": 1}', {"x": 1}),
        ({"allOf": [{"type": "boolean"}]}, "false", False),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"enum": [1, 2]}, "1", 1),
        ({"const": True}, "true", True),
        ({"$ref": "#/$defs/point"}, '{"x": 1}', {"x": 1}),
        ({"$ref": "#/$defs/nowhere"}, "1", 1),
        ({"$ref": "#/$defs/round"}, "1", 1),
        ({}, "1", 1),
        (None, "1.50", 1.5),
        (None, "true", True),
        (None, "null", None),
        (None, '{"a": 1}', {"a": 1}),
        (None, "a: 1", "a: 1"),
        (True, "1", 1),
        ({"type": "no such type"}, "1", "1"),
        ({"type": 7}, "1", 1),
    ],
)
def test_a_value_is_of_a_type_that_its_schema_allows_or_stays_text(schema: Any, text: str, value: Any) -> None:
    assert coerced(schema, text, **{"$defs": {"point": POINT, "round": {"$ref": "#/$defs/round"}}}) == value


def test_a_value_whose_name_the_schema_does_not_list_is_what_it_says_of_all_others() -> None:
    assert coerced(None, "5", additionalProperties={"type": "string"}) == "5"
    assert (
        coerced(None, "5", additionalProperties={"$ref": "#/$defs/text"}, **{"$defs": {"text": {"type": "string"}}})
        == "5"
    )
    assert coerced({"type": "integer"}, "5", additionalProperties={"type": "string"}) == 5
    assert coerced(None, "5", additionalProperties=True) == 5
    assert coerced(None, "5", additionalProperties=False) == 5


def test_a_schema_that_refers_to_itself_many_times_is_read_once() -> None:
    assert coerced({"anyOf": [{"$ref": "#/properties/x"}] * 50 + [{"type": "integer"}]}, "1") == 1


@pytest.mark.parametrize("parameters", ["", "[]", "{", '{"properties": 5}', "[" * 100_000, '{"properties": {"x": 5}}'])
def test_a_schema_that_is_none_is_as_no_schema(parameters: str) -> None:
    assert Schemas({"f": parameters}).coerce("f", "x", "1") == "1"
    assert Schemas({}).coerce("f", "x", "a") == '"a"'


def test_long_numbers_keep_their_digits() -> None:
    digits = "1234567890" * 5
    assert Schemas({"f": '{"properties": {"x": {"type": "integer"}}}'}).coerce("f", "x", digits) == digits


def test_the_lines_of_a_value_are_its_own_but_for_the_templates() -> None:
    value = "\n  def f():\n    return '<parameter=y>'\n"
    answer = f"<tool_call>\n<function=f>\n<parameter=x>\n{value}\n</parameter>\n</function>\n</tool_call>"
    assert told(parsed(XML, answer)) == [("f", {"x": value})]


def test_a_value_may_hold_the_markers_that_would_end_it() -> None:
    value = "</tool_call> </parameter> </function> <tool_call> <function=g>"
    answer = f"<tool_call>\n<function=f>\n<parameter=x>\n{value}\n</parameter>\n</function>\n</tool_call>"
    assert told(parsed(XML, answer)) == [("f", {"x": value})]
    assert told(parsed(XML, list(answer))) == [("f", {"x": value})]
