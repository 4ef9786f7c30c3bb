"""What goes wrong under /api/ is told as JSON in one envelope: servers that are away, odd bodies, too many requests."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from helexa.api.parsing import MOST_BYTES
from tests.api.conftest import World

JSON: dict[str, Any] = {"content_type": "application/json"}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, kept from others."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


@pytest.mark.parametrize("how", ["closed_port", "silent_port"])
def test_without_postgresql_it_is_503(request: pytest.FixtureRequest, django_db_blocker: Any, how: str) -> None:
    port = request.getfixturevalue(how)
    earlier = connection.settings_dict["PORT"]
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["PORT"] = port
        try:
            began = time.monotonic()
            answer = Client(headers={"x-api-key": "sk-helexa-anything"}).get("/api/me")
            took_s = time.monotonic() - began
        finally:
            connection.close()
            connection.settings_dict["PORT"] = earlier
    assert answer.status_code == 503
    assert took_s < 10
    assert answer["Retry-After"] == "5"
    assert answer.json()["error"] == {
        "code": "unavailable",
        "message": "PostgreSQL does not answer; try again in a few seconds.",
        "field": None,
        "fields": {},
    }


def test_without_redis_the_fleet_is_503_and_the_rest_goes_on(
    world: World, settings: Settings, closed_port: int
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{closed_port}/0"
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": settings.REDIS_URL}}
    operator = world.as_("operator")
    answer = operator.get("/api/neurons")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json()["error"]["message"] == "Redis does not answer; try again in a few seconds."
    assert operator.get("/api/accounts").status_code == 200


def test_too_many_requests_are_told_when_to_come_back(world: World, redis_url: str, settings: Settings) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"actor": "3/hour"}}
    member, owner = world.as_("member"), world.as_("owner")
    assert [member.get("/api/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = member.get("/api/me")
    assert 0 < int(answer["Retry-After"]) <= 3600
    assert answer.json()["error"]["code"] == "too_many_requests"
    assert owner.get("/api/me").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, "The body is not JSON"),
        (b"\xff\xfe", 400, "The body is not JSON"),
        (b"[" * 100_000, 400, "The body is not JSON"),
        (b"[]", 400, "The body must be a JSON object"),
        (b"1" * 5000, 400, "The body is not JSON"),
        (b'{"name": "' + b"x" * MOST_BYTES + b'"}', 413, "The body has more than"),
        (b"", 400, "name: This field is required."),
        (b"{}", 400, "name: This field is required."),
    ],
    ids=["cut", "bytes", "deep", "list", "digits", "large", "empty", "bare"],
)
def test_an_odd_body_is_refused_with_a_sentence(world: World, body: bytes, status: int, sentence: str) -> None:
    answer = world.as_("operator").post("/api/accounts", body, **JSON)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("GET", "/api/", 404, "not_found"),
        ("GET", "/api/accounts/999999", 404, "not_found"),
        ("GET", "/api/accounts/x", 404, "not_found"),
        ("GET", "/api/keys/key_%00", 404, "not_found"),
        ("DELETE", "/api/keys", 405, "method_not_allowed"),
        ("OPTIONS", "/api/keys", 405, "method_not_allowed"),
        ("GET", "/api/keys?format=xml", 404, "not_found"),
    ],
)
def test_every_fault_has_the_envelope(world: World, method: str, url: str, status: int, code: str) -> None:
    answer = world.as_("operator").generic(method, url)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    error = json.loads(answer.content)["error"]
    assert error["code"] == code
    assert error["message"]
    assert set(error) == {"code", "message", "field", "fields"}


def test_other_bodies_than_json_are_not_read(world: World) -> None:
    answer = world.as_("operator").post("/api/accounts", {"name": "biology"})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_a_fault_of_ours_is_json_too(settings: Settings) -> None:
    settings.SECRET_KEY = ""  # no session can be read without one
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "x" * 32
    answer = client.get("/api/me")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
