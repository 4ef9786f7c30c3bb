"""/api/schema/ is OpenAPI without a warning, and what is answered is what it says."""

from __future__ import annotations

from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from tests.api.conftest import World


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def test_it_is_valid_and_nothing_was_guessed(schema: dict[str, Any]) -> None:
    validate_schema(schema)
    GENERATOR_STATS.emit_summary()
    assert not GENERATOR_STATS, "see the warnings above"


def test_it_is_served_to_everybody(world: World) -> None:
    answer = world.as_("nobody").get("/api/schema/?format=json")
    assert answer.status_code == 200
    assert "/api/keys/{key_id}/revoke" in answer.json()["paths"]


@pytest.mark.parametrize(
    "path", ["accounts", "budgets", "entries", "keys", "me", "members", "usage", "neurons", "models"]
)
def test_answers_are_as_it_says(world: World, redis_url: str, schema: dict[str, Any], path: str) -> None:
    shape = schema["paths"][f"/api/{path}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = world.as_("operator" if path != "me" else "member's key").get(f"/api/{path}").json()
    whole = {**shape, "components": _without_nullable(schema["components"])}
    assert [fault.message for fault in Draft202012Validator(whole).iter_errors(answer)] == []


def test_faults_are_as_it_says(world: World, schema: dict[str, Any]) -> None:
    shape = schema["paths"]["/api/keys"]["post"]["responses"]["default"]["content"]["application/json"]["schema"]
    answer = world.as_("owner").post("/api/keys", {}, content_type="application/json").json()
    whole = {**shape, "components": _without_nullable(schema["components"])}
    assert [fault.message for fault in Draft202012Validator(whole).iter_errors(answer)] == []


def _without_nullable(part: Any) -> Any:
    """OpenAPI 3.0 writes `nullable: true` where JSON Schema lists null among the types."""
    if isinstance(part, list):
        return [_without_nullable(one) for one in part]
    if not isinstance(part, dict):
        return part
    rest = {name: _without_nullable(value) for name, value in part.items() if name != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if part.get("nullable") is True else rest
