"""What is wrong with a Messages request, as the anthropic SDK raises it: by class, with type, code and request id."""

from __future__ import annotations

import json
import signal
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, APIStatusError

from tests.models import LASTING
from tests.stack.running import PATIENCE_S, Key, Stack, wait_until

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
GOOD: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 1}


def raised(url: str, secret: str, **fields: Any) -> APIStatusError:
    client = Anthropic(base_url=url, api_key=secret, max_retries=0)
    with pytest.raises(APIStatusError) as fault:
        client.messages.create(**{**GOOD, **fields})
    assert fault.value.request_id is not None
    assert fault.value.body["request_id"] == fault.value.request_id  # type: ignore[index]
    return fault.value


def envelope_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    whole: dict[str, Any] = response.json()
    assert (whole["type"], whole["request_id"]) == ("error", response.headers["request-id"])
    error: dict[str, Any] = whole["error"]
    assert {"type", "message"} <= set(error)
    return error


def test_a_wrong_field_is_a_bad_request_that_names_it(url: str, key: Key) -> None:
    fault = raised(url, key.secret, max_tokens=-1)
    assert isinstance(fault, anthropic.BadRequestError)
    assert fault.type == "invalid_request_error"
    assert "max_tokens" in fault.body["error"]["message"]  # type: ignore[index]


def test_a_wrong_key_is_an_authentication_error(url: str) -> None:
    fault = raised(url, "sk-wrong")
    assert isinstance(fault, anthropic.AuthenticationError)
    assert (fault.type, fault.error_code) == ("authentication_error", "invalid_api_key")


def test_an_unknown_model_is_not_found(url: str, key: Key) -> None:
    fault = raised(url, key.secret, model="no/such")
    assert isinstance(fault, anthropic.NotFoundError)
    assert (fault.type, fault.error_code) == ("not_found_error", "model_not_found")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_over_the_limit_is_told_in_the_words_clients_search_for(url: str, key: Key, stream: bool) -> None:
    fault = raised(url, key.secret, messages=[{"role": "user", "content": "river " * 4000}], stream=stream)
    assert isinstance(fault, anthropic.BadRequestError)
    details = fault.body["error"]["details"]  # type: ignore[index]
    told = f"prompt is too long: {details['prompt_len']} tokens > {details['max']} maximum"
    assert fault.body["error"]["message"] == told  # type: ignore[index]
    assert (fault.error_code, details["max"]) == ("context_length_exceeded", 1536)


def test_a_spent_budget_is_a_rate_limit_that_nobody_tries_again(url: str, stack: Stack) -> None:
    fault = raised(url, stack.issue_key("spent", "--cap", "1").secret, max_tokens=100)
    assert isinstance(fault, anthropic.RateLimitError)
    assert (fault.type, fault.error_code) == ("rate_limit_error", "insufficient_quota")
    assert fault.response.headers["x-should-retry"] == "false"


def test_a_model_that_is_loaded_nowhere_is_unavailable_and_not_overloaded(url: str, key: Key) -> None:
    fault = raised(url, key.secret, model="elsewhere")
    assert (fault.status_code, fault.type, fault.error_code) == (503, "api_error", "service_unavailable")


def test_an_image_is_refused_by_its_place(url: str, key: Key) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    fault = raised(url, key.secret, messages=[{"role": "user", "content": [image]}])
    assert (fault.status_code, fault.error_code) == (400, "vision_unsupported")
    assert "messages[0].content[0]" in fault.body["error"]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "path", "status", "error_type"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/messages/count_tokens", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
    ],
)
def test_a_wrong_method_or_path_is_in_the_envelope(
    url: str, key: Key, method: str, path: str, status: int, error_type: str
) -> None:
    assert envelope_of(httpx.request(method, url + path, headers=key.headers), status)["type"] == error_type


def test_no_key_at_all_is_401_before_the_body_is_looked_at(url: str) -> None:
    assert envelope_of(httpx.post(f"{url}/v1/messages", content=b"{"), 401)["type"] == "authentication_error"


def test_the_header_alone_says_in_whose_words_a_refusal_is(url: str) -> None:
    refused = httpx.get(f"{url}/v1/models", headers={"anthropic-version": "2023-06-01"})
    assert envelope_of(refused, 401)["type"] == "authentication_error"
    assert "type" not in httpx.get(f"{url}/v1/models").json()


@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {"content-encoding": "gzip"}])
def test_another_content_type_or_an_encoded_body_is_415(url: str, key: Key, headers: dict[str, str]) -> None:
    sent = {"content-type": "application/json", **key.headers, **headers}
    envelope_of(httpx.post(f"{url}/v1/messages", content=json.dumps(GOOD).encode(), headers=sent), 415)


def test_a_body_over_the_limit_is_413(url: str, key: Key) -> None:
    body = b"x" * (33 * 1024 * 1024)
    refused = httpx.post(f"{url}/v1/messages", content=body, headers=key.headers, timeout=PATIENCE_S)
    assert envelope_of(refused, 413)["type"] == "request_too_large"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"[" * 100_000, b'{"x":' * 100_000, b'{"model":"\xff"}'])
def test_a_body_that_is_no_object_is_400(url: str, key: Key, raw: bytes) -> None:
    headers = {"content-type": "application/json", **key.headers}
    error = envelope_of(httpx.post(f"{url}/v1/messages", content=raw, headers=headers, timeout=PATIENCE_S), 400)
    assert error["type"] == "invalid_request_error"


def test_a_gateway_that_drains_is_overloaded(stack: Stack, key: Key, lasting: str) -> None:
    url = stack.start_gateway("uvicorn", name="drains")
    try:
        stack.wait_ready("drains")
        wait_until(lambda: httpx.post(f"{url}/v1/messages", json=GOOD, headers=key.headers).status_code == 200)
        long = {**GOOD, "model": lasting, "max_tokens": LASTING, "stream": True}
        with (
            httpx.stream("POST", f"{url}/v1/messages", json=long, headers=key.headers, timeout=PATIENCE_S) as stream,
            httpx.Client(headers=key.headers, timeout=PATIENCE_S) as waiting,
        ):
            assert stream.status_code == 200
            waiting.get(f"{url}/health")
            stack.processes["drains"].send_signal(signal.SIGTERM)
            wait_until(lambda: "draining" in stack.log("drains").read_text())
            refused = waiting.post(f"{url}/v1/messages", json=GOOD)
        assert envelope_of(refused, 529)["type"] == "overloaded_error"
        assert refused.headers["retry-after"] == "5"
        stack.processes["drains"].wait(PATIENCE_S)
    finally:
        stack.processes["drains"].kill()
        del stack.gateways["drains"]
