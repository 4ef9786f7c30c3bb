"""Whatever dies, what left a neuron is billed once and nothing stays open (MISSION, beyond 2)."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import httpx
import psutil
import pytest

from tests.failures.conftest import Up
from tests.failures.test_deaths import gateways_of, well_again
from tests.models import LASTING
from tests.stack.running import PATIENCE_S, wait_until

#: A minute after PostgreSQL is up nothing may be open; it takes seconds.
NOTHING_OPEN_WITHIN_S = 60


def books_of(up: Up) -> dict[str, Any]:
    books: dict[str, Any] = json.loads(up.manage("audit_ledger", "--json"))
    return books


def booked_for(up: Up, request_id: str) -> dict[str, Any]:
    booked: dict[str, Any] = json.loads(up.manage("audit_ledger", "--request", request_id, "--json"))
    return booked


def nothing_open(up: Up) -> bool:
    return books_of(up)["reservations_open"] == 0


def insist_on_clean_books(up: Up) -> None:
    wait_until(lambda: nothing_open(up), limit_s=NOTHING_OPEN_WITHIN_S, what="every reservation to be closed")
    books = books_of(up)
    assert books["ok"], books["differences"]


@pytest.fixture(autouse=True)
def clean_books(up: Up) -> Any:
    yield
    wait_until(lambda: well_again(up), what="all to be well")
    insist_on_clean_books(up)


def a_stream_until_its_gateway_dies(up: Up, *, also: str | None = None) -> tuple[str, int]:
    """Kill a gateway (and a neuron) in the middle of a stream; the request's id and the number of chunks that came."""
    gateway = gateways_of(up)[0]
    body = up.body(max_tokens=LASTING, stream=True)
    chunks = 0
    try:
        with httpx.stream(
            "POST", f"{gateway['url']}/v1/chat/completions", json=body, headers=up.headers, timeout=PATIENCE_S
        ) as response:
            request_id = response.headers["x-request-id"]
            for line in response.iter_lines():
                chunks += line.startswith("data:")
                if chunks == 20 and line:
                    psutil.Process(gateway["pid"]).kill()
                    if also is not None:
                        up.child(also).kill()
    except httpx.HTTPError:
        pass
    wait_until(lambda: len(gateways_of(up)) == 2, what="a new gateway")
    return request_id, chunks


def test_a_gateway_dies_and_another_settles_what_it_ran(up: Up) -> None:
    request_id, chunks = a_stream_until_its_gateway_dies(up)
    insist_on_clean_books(up)
    booked = booked_for(up, request_id)
    assert booked["state"] == "settled"
    assert chunks <= booked["entries"][0]["completion_tokens"] <= LASTING  # it goes on until it is cancelled


def test_gateway_and_neuron_die_together_and_what_was_published_is_billed(up: Up) -> None:
    request_id, chunks = a_stream_until_its_gateway_dies(up, also="runworker")
    insist_on_clean_books(up)
    booked = booked_for(up, request_id)
    assert booked["state"] == "estimated"
    assert chunks - 1 <= booked["entries"][0]["completion_tokens"] < LASTING


def test_a_neuron_dies_and_its_gateway_bills_what_left_it(up: Up) -> None:
    body = up.body(max_tokens=LASTING, stream=True)
    with httpx.stream(
        "POST", f"{up.url}/v1/chat/completions", json=body, headers=up.headers, timeout=PATIENCE_S
    ) as response:
        request_id = response.headers["x-request-id"]
        lines = response.iter_lines()
        for _ in zip(range(10), lines, strict=False):
            pass
        up.child("runworker").kill()
        for _ in lines:
            pass
    insist_on_clean_books(up)
    booked = booked_for(up, request_id)
    assert booked["state"] == "estimated"
    assert booked["entries"][0]["completion_tokens"] > 0


def test_a_gateway_that_was_stopped_for_a_while_bills_nothing_twice(up: Up) -> None:
    gateway = gateways_of(up)[0]
    process = psutil.Process(gateway["pid"])
    body = up.body(max_tokens=LASTING, stream=True)
    with httpx.stream(
        "POST", f"{gateway['url']}/v1/chat/completions", json=body, headers=up.headers, timeout=PATIENCE_S
    ) as response:
        request_id = response.headers["x-request-id"]
        lines = response.iter_lines()
        next(lines)
        process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: booked_for(up, request_id)["state"] != "open", what="another gateway to settle it")
        finally:
            process.send_signal(signal.SIGCONT)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    insist_on_clean_books(up)
    usage = [entry for entry in booked_for(up, request_id)["entries"] if entry["kind"] == "usage"]
    assert len(usage) == 1


def test_postgresql_dies_while_a_stream_runs_and_the_stream_is_billed_when_it_is_back(up: Up) -> None:
    body = up.body(max_tokens=1500, stream=True)
    with httpx.stream(
        "POST", f"{up.url}/v1/chat/completions", json=body, headers=up.headers, timeout=PATIENCE_S
    ) as response:
        request_id = response.headers["x-request-id"]
        lines = response.iter_lines()
        next(lines)
        up.child("postgres").kill()
        rest = [json.loads(line.removeprefix("data: ")) for line in lines if line and line != "data: [DONE]"]
    told = rest[-1]["usage"]
    wait_until(lambda: well_again(up), what="PostgreSQL to be back")
    insist_on_clean_books(up)
    (entry,) = booked_for(up, request_id)["entries"]
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == (told["prompt_tokens"], told["completion_tokens"])


def test_all_of_it_dies_under_load_and_the_caps_hold(up: Up) -> None:
    """A capped key, some streams at once, and Redis killed in the middle."""
    key = json.loads(up.manage("issue_key", "--account", "capped", "--cap", "3000", "--json"))
    headers = {"Authorization": f"Bearer {key['key']}"}
    body = up.body(max_tokens=400, stream=True)
    with (
        httpx.stream("POST", f"{up.url}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE_S) as first,
        httpx.stream("POST", f"{up.url}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE_S) as second,
    ):
        lines = first.iter_lines()
        next(lines)
        up.child("valkey").kill()
        began_s = time.monotonic()
        for stream in (lines, second.iter_lines()):
            assert [line for line in stream if line][-1] == "data: [DONE]"
        assert time.monotonic() - began_s < PATIENCE_S / 2
