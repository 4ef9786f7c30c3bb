"""Two neurons that take one request each and let nobody wait, under an operator's clamp of the context."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.failures.conftest import Up
from tests.models import tiny_model
from tests.stack.running import PATIENCE_S, wait_until

CLAMP = 8192


@pytest.fixture(scope="module")
def full() -> Iterator[Up]:
    settings = {
        "HELEXA_ADMISSION__MAX_IN_FLIGHT": "1",
        "HELEXA_ADMISSION__MAX_QUEUE_DEPTH": "0",
        "HELEXA_MAX_PROMPT_TOKENS": str(CLAMP),
    }
    with tempfile.TemporaryDirectory(prefix="helexa-up-") as folder:
        Path(folder).chmod(0o711)
        model = tiny_model(Path(folder) / "tiny", eos=False, max_position_embeddings=2 * CLAMP)
        running = Up(Path(folder), model, "--workers", "2", **settings)
        try:
            running.wait_ready()
            wait_until(lambda: len(places(running)) == 2, limit_s=60, what="both neurons to hold the model")
            yield running
        finally:
            running.stop()


def entry(full: Up) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{full.url}/v1/models/tiny", headers=full.headers, timeout=PATIENCE_S).json()
    return found


def places(full: Up) -> list[object]:
    locations = entry(full)["locations"]
    assert isinstance(locations, list)
    return [place for place in locations if place["status"] == "loaded"]


def test_a_request_finds_the_neuron_with_room_and_the_next_one_is_told_when_to_come_again(full: Up) -> None:
    url, body = f"{full.url}/v1/chat/completions", full.body(stream=True, max_tokens=CLAMP - 1000)
    with ExitStack() as open_streams:
        for _ in range(2):
            stream = open_streams.enter_context(
                httpx.stream("POST", url, json=body, headers=full.headers, timeout=PATIENCE_S)
            )
            assert stream.status_code == 200
        refused = full.chat()
        message = httpx.post(f"{full.url}/v1/messages", json=full.body(), headers=full.headers, timeout=PATIENCE_S)
    assert (message.status_code, message.headers["retry-after"]) == (529, "2")
    assert message.json()["error"]["type"] == "overloaded_error"
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "2"
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    wait_until(lambda: full.chat().status_code == 200, what="a place to be free again")


def test_a_background_response_waits_for_a_place(full: Up) -> None:
    url, body = f"{full.url}/v1/chat/completions", full.body(stream=True, max_tokens=CLAMP - 1000)
    asked = {"model": "tiny", "input": "hello", "max_output_tokens": 5, "background": True}

    def status(response_id: str) -> str:
        answer = httpx.get(f"{full.url}/v1/responses/{response_id}", headers=full.headers, timeout=PATIENCE_S)
        return str(answer.json()["status"])

    with ExitStack() as open_streams:
        for _ in range(2):
            open_streams.enter_context(httpx.stream("POST", url, json=body, headers=full.headers, timeout=PATIENCE_S))
        waiting, unwanted = (
            httpx.post(f"{full.url}/v1/responses", json=asked, headers=full.headers, timeout=PATIENCE_S).json()["id"]
            for _ in range(2)
        )
        assert status(waiting) == "queued"
        cancelled = httpx.post(f"{full.url}/v1/responses/{unwanted}/cancel", headers=full.headers, timeout=PATIENCE_S)
        assert (cancelled.json()["status"], cancelled.json()["output"]) == ("cancelled", [])
        assert status(waiting) == "queued"
    wait_until(lambda: status(waiting) == "incomplete", what="a place for it")
    assert status(unwanted) == "cancelled"


def test_the_clamp_is_the_limit_everywhere(full: Up) -> None:
    limit = {"context": CLAMP, "input": CLAMP - CLAMP // 4, "output": CLAMP // 4}
    assert entry(full)["limit"] == limit
    neurons = json.loads(full.manage("fleet", "status", "--json"))["neurons"]
    limits = [model["limit"] for neuron in neurons for model in neuron["models"]]
    assert limits == [{**limit, "bound_by": "operator"}] * 2


def test_a_prompt_over_the_limit_is_refused_with_both_numbers(full: Up) -> None:
    refused = full.chat(messages=[{"role": "user", "content": "the river " * 4000}])
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["message"].startswith(f"This model's maximum context length is {CLAMP - CLAMP // 4} tokens. However, ")
    assert error["prompt_len"] > error["max"] == CLAMP - CLAMP // 4
