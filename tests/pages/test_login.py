"""Signing in to the admin: throttled per name and address, and told in words."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, RequestFactory, override_settings

from helexa.lockout import client_address

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"
PASSWORD = "a good long password"


@pytest.fixture(autouse=True)
def operator() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


def attempt(client: Client, password: str, **headers: str) -> int:
    return client.post(f"{LOGIN}?next=/admin/", {"username": "ada", "password": password}, **headers).status_code


def test_it_works(client: Client) -> None:
    assert attempt(client, PASSWORD) == 302
    assert client.get("/admin/").status_code == 200


def test_on_plain_loopback_cookies_travel_and_nothing_redirects(client: Client) -> None:
    assert attempt(client, PASSWORD) == 302
    for cookie in ("sessionid", "csrftoken"):
        assert not client.cookies[cookie]["secure"]
    assert client.cookies["sessionid"]["httponly"]
    assert client.get("/").status_code == 200


def test_five_wrong_passwords_lock_the_name_from_that_address_only(client: Client) -> None:
    limit = settings.AXES_FAILURE_LIMIT
    assert [attempt(client, "wrong") for _ in range(limit)] == [200] * (limit - 1) + [429]
    refused = client.post(LOGIN, {"username": "ada", "password": PASSWORD})
    assert refused.status_code == 429
    assert refused["Retry-After"] == "900"
    assert "locked from your address for 15 minutes" in refused.content.decode()
    assert attempt(client, PASSWORD, REMOTE_ADDR="192.0.2.7") == 302


def test_an_earlier_slip_is_forgotten_after_a_sign_in(client: Client) -> None:
    for _ in range(3):
        assert attempt(client, "wrong") == 200
        assert attempt(client, "wrong") == 200
        assert attempt(client, PASSWORD) == 302


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        (False, "192.0.2.7", "127.0.0.1"),
        (True, "192.0.2.7", "192.0.2.7"),
        (True, "203.0.113.9, 192.0.2.7", "192.0.2.7"),
        (True, "made up", "127.0.0.1"),
        (True, "", "127.0.0.1"),
    ],
)
def test_the_address_is_the_one_that_a_trusted_proxy_saw(trusted: bool, forwarded: str, address: str) -> None:
    request = RequestFactory().post(LOGIN, headers={"X-Forwarded-For": forwarded})
    with override_settings(HELEXA_TRUST_PROXY=trusted):
        assert client_address(request) == address
