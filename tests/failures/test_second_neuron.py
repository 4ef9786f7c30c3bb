"""Two neurons: a request that is lost with the one before its first token is answered by the other."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.models import LASTING, LASTING_CONTEXT
from tests.proofs.running import Proving, proving
from tests.stack.running import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def two() -> Iterator[Proving]:
    with proving(gateways=1, workers=2, context=LASTING_CONTEXT) as running:
        yield running


def neurons_with(two: Proving, requests: int) -> list[str]:
    """The names of the neurons that run so many, by what they said last."""
    return [one.name for one in two.neurons() if [model.in_flight for model in one.models] == [requests]]


def process_of(two: Proving, neuron: str) -> psutil.Process:
    [found] = [process for process in two.children("runworker") if neuron in process.cmdline()]
    return found


def test_its_client_sees_nothing_of_it_and_it_is_billed_once(two: Proving) -> None:
    url, long = f"{two.url}/v1/chat/completions", two.body(max_tokens=LASTING, stream=True)
    with httpx.stream("POST", url, json=long, headers=two.headers, timeout=PATIENCE_S) as busy:
        lines = busy.iter_lines()  # held, or it closes what it reads
        next(lines)
        wait_until(lambda: neurons_with(two, 1), what="the neuron that has the stream to say so")
        [idle] = neurons_with(two, 0)
        silent = process_of(two, idle)
        silent.suspend()
        try:
            answer = two.chat()  # it goes where there is less to do
        finally:
            silent.resume()
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 5
    request_id = answer.headers["x-request-id"]
    [lost] = [line for line in two.output.splitlines() if "attempt_lost" in line]
    assert request_id in lost
    assert idle in lost
    [entry] = two.booked_for(request_id)["entries"]
    assert entry["completion_tokens"] == 5
