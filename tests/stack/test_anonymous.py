"""With HELEXA_REQUIRE_AUTH=false anyone may ask, but a wrong key is still refused."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.stack.running import Key, Stack, wait_until


@pytest.fixture(scope="module")
def open_url(stack: Stack, key: Key) -> Iterator[str]:
    url = stack.start_gateway("daphne", name="open", HELEXA_REQUIRE_AUTH="false")
    stack.wait_ready("open")
    wait_until(lambda: stack.model in httpx.get(f"{url}/v1/models").text, what="the model to be known")
    yield url
    stack.processes["open"].terminate()
    stack.processes["open"].wait(20)
    del stack.gateways["open"]


def test_no_key_is_fine_and_a_wrong_one_is_401(open_url: str, stack: Stack, key: Key) -> None:
    body = {"model": stack.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}

    def ask(**headers: str) -> int:
        return httpx.post(f"{open_url}/v1/chat/completions", json=body, headers=headers, timeout=30).status_code

    assert ask() == 200
    assert ask(authorization="Basic dXNlcjpwYXNz") == 200
    assert ask(authorization="Bearer sk-helexa-wrong") == 401
    assert ask(authorization=f"Bearer {key.secret}") == 200


def test_a_wrong_key_is_refused_before_the_body_is_judged(open_url: str) -> None:
    answer = httpx.post(f"{open_url}/v1/chat/completions", content=b"{", headers={"x-api-key": "sk-helexa-wrong"})
    assert answer.status_code == 401


def test_what_an_anonymous_client_asks_is_not_stored(open_url: str, stack: Stack) -> None:
    body = {"model": stack.model, "input": "hi", "max_output_tokens": 2, "store": True}
    answer = httpx.post(f"{open_url}/v1/responses", json=body, timeout=30).json()
    assert (answer["status"], answer["store"]) == ("incomplete", False)
    assert httpx.get(f"{open_url}/v1/responses/{answer['id']}").status_code == 404
    continued = httpx.post(f"{open_url}/v1/responses", json={**body, "previous_response_id": answer["id"]}).json()
    assert continued["error"]["code"] == "previous_response_not_found"
    refused = httpx.post(f"{open_url}/v1/responses", json={**body, "background": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")
