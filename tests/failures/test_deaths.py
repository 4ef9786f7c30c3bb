"""Whatever dies by kill -9, clients get a whole answer or a well-formed error, and all is well again by itself."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import httpx
import psutil

from tests.failures.conftest import Up
from tests.models import LASTING
from tests.stack.running import PATIENCE_S, SOON_S, wait_until

#: Tokens of an answer that takes seconds and is waited for.
FINISHED_LATER = 3000


def well_again(up: Up) -> bool:
    return up.chat().status_code == 200


def error_of(answer: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = answer.json()["error"]
    return error


def test_the_neuron_dies_during_a_stream(up: Up) -> None:
    url, body = f"{up.url}/v1/chat/completions", up.body(max_tokens=LASTING, stream=True)
    with httpx.stream("POST", url, json=body, headers=up.headers, timeout=PATIENCE_S) as response:
        lines = response.iter_lines()
        next(lines)
        up.child("runworker").kill()
        died_s = time.monotonic()
        rest = [line for line in lines if line]
    assert time.monotonic() - died_s < SOON_S
    *events, done = rest
    assert done == "data: [DONE]"
    errors = [chunk["error"] for event in events if "error" in (chunk := json.loads(event.removeprefix("data: ")))]
    assert [error["code"] for error in errors] == ["service_unavailable"]
    wait_until(lambda: well_again(up), what="the neuron to be back")


def test_redis_dies(up: Up) -> None:
    up.child("valkey").kill()
    refused = refusal_within(up, 3)
    if refused is not None:
        assert error_of(refused)["code"] == "service_unavailable"
        assert "Redis" in error_of(refused)["message"]
    wait_until(lambda: well_again(up), what="Redis to be back")


def test_a_stream_outlives_redis_or_ends_well_formed(up: Up) -> None:
    url, body = f"{up.url}/v1/chat/completions", up.body(max_tokens=1500, stream=True)
    with httpx.stream("POST", url, json=body, headers=up.headers, timeout=PATIENCE_S) as response:
        lines = response.iter_lines()
        next(lines)
        up.child("valkey").kill()
        died_s = time.monotonic()
        rest = [json.loads(line.removeprefix("data: ")) for line in lines if line and line != "data: [DONE]"]
    if "error" in rest[-1]:
        assert time.monotonic() - died_s < SOON_S
    else:
        assert rest[-1]["usage"]["completion_tokens"] == 1500
    wait_until(lambda: well_again(up), what="Redis to be back")


def test_postgresql_dies(up: Up) -> None:
    up.child("postgres").kill()
    refused = refusal_within(up, 3)
    if refused is not None:
        assert error_of(refused)["code"] == "service_unavailable"
        assert "PostgreSQL" in error_of(refused)["message"]
    wait_until(lambda: well_again(up), what="PostgreSQL to be back")


def refusal_within(up: Up, limit_s: float) -> httpx.Response | None:
    """The first 503, every answer before it being 200 and quick; None if the server was back before one was seen."""
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        answer = up.chat()
        assert answer.status_code in (200, 503), answer.text
        assert time.monotonic() - began_s < SOON_S
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) <= 5
            return answer
    return None


def gateways_of(up: Up) -> list[dict[str, Any]]:
    gateways: list[dict[str, Any]] = json.loads(up.manage("fleet", "status", "--json"))["gateways"]
    return gateways


def test_a_gateway_that_is_asked_to_stop_finishes_what_runs(up: Up) -> None:
    url, process = gateways_of(up)[0]["url"], psutil.Process(gateways_of(up)[0]["pid"])

    def refusal() -> httpx.Response | None:
        answer = httpx.post(f"{url}/v1/chat/completions", json=up.body(), headers=up.headers)
        return answer if answer.status_code == 503 else None

    body = up.body(max_tokens=FINISHED_LATER, stream=True)
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers=up.headers, timeout=PATIENCE_S
    ) as response:
        lines = response.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        refused = wait_until(refusal, what="a refusal")
        rest = [line for line in lines if line]
    assert refused is not None
    assert error_of(refused)["code"] == "service_unavailable"
    assert refused.headers["retry-after"] == "5"
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data: "))["usage"]["completion_tokens"] == FINISHED_LATER
    process.wait(PATIENCE_S)
    wait_until(lambda: len(gateways_of(up)) == 2, what="a new gateway")
    wait_until(lambda: well_again(up), limit_s=SOON_S, what="answers from whichever gateway takes the request")
