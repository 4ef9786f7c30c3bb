"""Which credentials open /api/: the same header rules as /v1, and sessions of our own pages only."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import Account, ApiKey
from tests.api.conftest import World


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer {right}"}, 200),
        ({"authorization": "bearer {right}"}, 200),
        ({"x-api-key": "{right}"}, 200),
        ({"x-api-key": "{right}", "authorization": "Bearer wrong"}, 200),
        ({"x-api-key": "wrong", "authorization": "Bearer {right}"}, 401),
        ({"authorization": "Bearer {right}x"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Basic {right}"}, 401),
        ({"authorization": "Bearer \u00e9\u00e8"}, 401),
        ({}, 401),
    ],
)
def test_headers_mean_what_they_mean_on_v1(world: World, headers: dict[str, str], status: int) -> None:
    secret = world.keys["member's key"].secret
    answer = Client(headers={name: value.format(right=secret) for name, value in headers.items()}).get("/api/me")
    assert answer.status_code == status
    if status == 401:
        assert answer["WWW-Authenticate"] == 'Bearer realm="helexa"'
        assert answer.json()["error"]["code"] == "not_authenticated"


def test_a_wrong_key_is_refused_also_beside_a_session(world: World) -> None:
    client = world.as_("operator")
    assert client.get("/api/me").status_code == 200
    assert client.get("/api/me", headers={"x-api-key": "wrong"}).status_code == 401


@pytest.mark.parametrize("change", [{"revoked_at": "2020-01-01T00:00Z"}, {"expires_at": "2020-01-01T00:00Z"}])
def test_a_key_that_is_over_opens_nothing(world: World, change: dict[str, str]) -> None:
    key = world.keys["member's key"]
    ApiKey.objects.filter(pk=key.row.pk).update(**change)
    assert key.client.get("/api/me").status_code == 401


class TestSession:
    @pytest.fixture
    def browser(self, world: World) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(world.people["operator"])
        return client

    def test_it_reads(self, browser: Client) -> None:
        assert browser.get("/api/accounts").status_code == 200

    def test_without_a_token_it_changes_nothing(self, browser: Client) -> None:
        answer = browser.post("/api/accounts", {"name": "biology"}, content_type="application/json")
        assert answer.status_code == 403
        assert "CSRF" in answer.json()["error"]["message"]
        assert not Account.objects.filter(name="biology").exists()

    @pytest.mark.parametrize(
        ("origin", "status"), [("http://testserver", 201), ("https://elsewhere.example", 403), ("null", 403)]
    )
    def test_with_a_token_it_does_from_our_own_origin(self, browser: Client, origin: str, status: int) -> None:
        browser.cookies["csrftoken"] = token = "a" * 32
        answer = browser.post(
            "/api/accounts",
            {"name": "biology"},
            content_type="application/json",
            headers={"x-csrftoken": token, "origin": origin},
        )
        assert answer.status_code == status

    def test_no_other_origin_may_read_the_answer(self, browser: Client) -> None:
        answer = browser.get("/api/accounts", headers={"origin": "https://elsewhere.example"})
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]

    def test_a_key_needs_no_token(self, world: World) -> None:
        client = Client(enforce_csrf_checks=True, headers={"x-api-key": world.keys["operator key"].secret})
        assert client.post("/api/accounts", {"name": "biology"}, content_type="application/json").status_code == 201
