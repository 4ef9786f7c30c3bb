"""The front page and the pages of errors, as they leave Django."""

from __future__ import annotations

import pytest
from django.template.loader import render_to_string
from django.test import Client, override_settings


def test_it_works(client: Client) -> None:
    page = client.get("/", HTTP_HOST="localhost:31313")
    assert page.status_code == 200
    assert "curl http://localhost:31313/v1/models" in page.content.decode()
    assert 'base_url="http://localhost:31313/v1"' in page.content.decode()


@override_settings(HELEXA_TRUST_PROXY=True, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
def test_behind_a_proxy_it_shows_the_address_that_clients_use(client: Client) -> None:
    page = client.get("/", HTTP_HOST="localhost", HTTP_X_FORWARDED_PROTO="https")
    assert "curl https://localhost/v1/models" in page.content.decode()


def test_head_has_no_body_and_post_is_refused(client: Client) -> None:
    assert client.head("/").status_code == 200
    assert client.head("/").content == b""
    assert client.post("/").status_code == 405


def test_it_needs_no_inline_script_or_style(client: Client) -> None:
    page = client.get("/")
    policy = page["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for inline in ("<style", "style=", "onclick", "<script>"):
        assert inline not in page.content.decode()


def test_the_admin_alone_is_allowed_what_its_theme_needs(client: Client, db: None) -> None:
    policy = client.get("/admin/login/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval';" in policy + ";"
    assert "style-src 'self' 'unsafe-inline';" in policy + ";"
    assert "unsafe" not in client.get("/nothing")["Content-Security-Policy"]
    assert "unsafe" not in client.get("/administer/")["Content-Security-Policy"]


def test_an_unknown_page_and_an_unknown_host_are_told_in_our_words(client: Client) -> None:
    assert "There is no such page." in client.get("/nothing").content.decode()
    unknown = client.get("/", HTTP_HOST="elsewhere.example")
    assert unknown.status_code == 400
    assert "HELEXA_ALLOWED_HOSTS" in unknown.content.decode()


def test_a_form_without_its_token_is_told_in_our_words(db: None) -> None:
    refused = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x", "password": "y"})
    assert refused.status_code == 403
    assert "This form could not be accepted." in refused.content.decode()


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_the_pages_of_errors_need_nothing_from_the_request(status: int) -> None:
    assert f'<p class="number">{status}</p>' in render_to_string(f"{status}.html")
