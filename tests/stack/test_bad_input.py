"""Whatever is wrong with a request is a 4xx in OpenAI's envelope: never a 5xx, a hang or HTML."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.stack.running import Key, Stack

GOOD = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error inside the envelope, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    return error


def post(url: str, key: Key, content: bytes, **headers: str) -> httpx.Response:
    headers = {
        "content-type": "application/json",
        **key.headers,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return httpx.post(f"{url}/v1/chat/completions", content=content, headers=headers, timeout=20)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 129}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_a_wrong_field_is_named(url: str, key: Key, fields: dict[str, object], param: str) -> None:
    error = error_of(post(url, key, json.dumps({**GOOD, **fields}).encode()), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"model":"\xff"}',
        b"[" * 100_000,
        b'{"x":' * 100_000,
        json.dumps(GOOD).encode()[:-1] + b',"top_p":NaN}',
    ],
)
def test_a_body_that_is_no_object_is_400(url: str, key: Key, raw: bytes) -> None:
    error_of(post(url, key, raw), 400)


def test_an_unknown_model_is_404(url: str, key: Key) -> None:
    error = error_of(post(url, key, json.dumps({**GOOD, "model": "no/such"}).encode()), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_a_missing_model_has_its_own_code(url: str, key: Key) -> None:
    error = error_of(post(url, key, json.dumps({"messages": GOOD["messages"]}).encode()), 400)
    assert error["code"] == "missing_model_field"


def test_a_model_that_is_loaded_nowhere_is_503_and_not_retried(url: str, key: Key) -> None:
    response = post(url, key, json.dumps({**GOOD, "model": "elsewhere"}).encode())
    assert error_of(response, 503)["code"] == "service_unavailable"
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("headers", [{"content_type": "text/plain"}, {"content_encoding": "gzip"}])
def test_another_content_type_or_an_encoded_body_is_415(url: str, key: Key, headers: dict[str, str]) -> None:
    error_of(post(url, key, json.dumps(GOOD).encode(), **headers), 415)


def test_a_charset_is_ignored(url: str, key: Key) -> None:
    assert (
        post(url, key, json.dumps(GOOD).encode(), content_type="application/json; charset=latin-1").status_code == 200
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/no", 404),
        ("POST", "/v1", 404),
        ("POST", "/v1/embeddings", 404),
    ],
)
def test_a_wrong_method_or_path_is_in_the_envelope(url: str, key: Key, method: str, path: str, status: int) -> None:
    error_of(httpx.request(method, url + path, headers=key.headers), status)


def test_a_wrong_method_is_told_the_right_ones(url: str, key: Key) -> None:
    for path, allowed in (("/v1/chat/completions", "POST"), ("/v1/models/tiny", "GET, HEAD")):
        answer = httpx.delete(url + path, headers=key.headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_what_a_client_sent_is_not_sent_back_at_length(url: str, key: Key) -> None:
    for fields in ({"model": "m" * 100_000}, {"messages": [{"role": "r" * 100_000, "content": "hi"}]}):
        answer = post(url, key, json.dumps({**GOOD, **fields}).encode())
        assert answer.status_code in (400, 404)
        assert len(answer.content) < 4000


def test_a_body_over_the_limit_is_413(url: str, key: Key) -> None:
    error_of(post(url, key, b"x" * (33 * 1024 * 1024)), 413)


def test_nothing_of_it_stopped_the_gateway(stack: Stack, server: str, key: Key) -> None:
    assert stack.chat(server, key).status_code == 200
