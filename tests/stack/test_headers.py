"""What every answer carries: its request's names, who may read it, what is left to its key."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest

from tests.stack.running import PATIENCE_S, Key, Stack, wait_until

PATHS = [
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/no"),
    ("OPTIONS", "/v1/messages"),
    ("POST", "/v1/embeddings"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_answer_names_its_request_by_both_names_and_may_be_read_anywhere(
    url: str, key: Key, method: str, path: str
) -> None:
    headers = httpx.request(method, url + path, headers={**key.headers, "origin": "https://example.org"}).headers
    assert headers["x-request-id"] == headers["request-id"]
    assert headers["x-request-id"].startswith("req_")
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("GET", "/v1/models", "0", 200),
        ("POST", "/v1/messages", "0", 400),
        ("POST", "/v1/messages", "1000000000", 413),
        ("POST", "/v1/messages", "many", 400),
        ("OPTIONS", "/v1/messages", "0", 204),
        ("GET", "/health", "0", 200),
        ("GET", "/no-such-page", "0", 404),
        ("HEAD", "/", "0", 200),
    ],
)
def test_every_request_is_found_in_the_logs_by_its_name(
    stack: Stack, server: str, key: Key, method: str, path: str, length: str, status: int
) -> None:
    connection = HTTPConnection(urlsplit(stack.gateways[server]).netloc, timeout=PATIENCE_S)
    connection.putrequest(method, path)
    for name, value in {**key.headers, "content-length": length}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status
    request_id = answer.headers["request-id"]
    connection.close()

    def logged() -> bool:
        lines = [line for line in stack.log(server).read_text().splitlines() if request_id in line]
        return any(
            json.loads(line).items() >= {"event": "request", "path": path, "status": status}.items() for line in lines
        )

    wait_until(logged, what="the line of the request")


def test_a_browser_may_ask_first_without_a_key(url: str) -> None:
    asked = {
        "origin": "https://example.org",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, x-stainless-os, anthropic-version",
    }
    answer = httpx.options(f"{url}/v1/chat/completions", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"*", "authorization"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert httpx.get(f"{url}/v1/models", headers={"origin": "https://example.org"}).headers[
        "access-control-allow-origin"
    ]


def test_pages_and_their_probe_are_not_for_other_origins(url: str) -> None:
    probe = httpx.head(f"{url}/")
    assert probe.status_code < 500
    assert probe.content == b""
    assert "access-control-allow-origin" not in probe.headers


def test_a_key_with_a_cap_hears_what_is_left_of_it(stack: Stack, server: str) -> None:
    key = stack.issue_key("limited", "--cap", "1000")
    whole = stack.chat(server, key, max_tokens=8)
    prompt_tokens = whole.json()["usage"]["prompt_tokens"]
    assert whole.headers["x-ratelimit-limit-tokens"] == "1000"
    left = int(whole.headers["x-ratelimit-remaining-tokens"])
    assert 1000 - left >= prompt_tokens + 8
    streamed = stack.chat(server, key, max_tokens=8, stream=True)
    assert int(streamed.headers["x-ratelimit-remaining-tokens"]) < left
    assert "x-ratelimit-reset-tokens" not in whole.headers, "a balance never resets"

    body = {"model": stack.model, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{stack.gateways[server]}/v1/messages", json=body, headers=key.headers)
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "1000"
    assert "x-ratelimit-limit-tokens" not in answer.headers


@pytest.mark.parametrize(
    ("options", "resets"), [((), False), (("--window", "rolling:3600"), True)], ids=["balance", "rolling"]
)
def test_who_is_refused_for_a_cap_hears_what_is_left_of_it_too(
    stack: Stack, server: str, options: tuple[str, ...], resets: bool
) -> None:
    key = stack.issue_key("refused", "--cap", "60", *options)
    used = stack.chat(server, key, max_tokens=8).json()["usage"]["total_tokens"]
    refused = stack.chat(server, key, max_tokens=60 - used + 1)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-limit-tokens"] == "60"
    assert refused.headers["x-ratelimit-remaining-tokens"] == str(60 - used)
    assert ("x-ratelimit-reset-tokens" in refused.headers) == resets

    body = {"model": stack.model, "max_tokens": 60, "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{stack.gateways[server]}/v1/messages", json=body, headers=key.headers)
    assert answer.status_code == 429
    assert answer.headers["anthropic-ratelimit-tokens-remaining"] == str(60 - used)
    assert ("anthropic-ratelimit-tokens-reset" in answer.headers) == resets


def test_a_key_without_a_cap_hears_of_none(stack: Stack, server: str, key: Key) -> None:
    assert not [name for name in stack.chat(server, key).headers if "ratelimit" in name]
