"""A neuron that falls silent is unhealthy after five seconds, and healed by its next report."""

from __future__ import annotations

import json
import signal
import time

import httpx

from tests.failures.conftest import Up
from tests.models import LASTING
from tests.stack.running import PATIENCE_S, SOON_S, wait_until


def test_silence_ends_streams_turns_requests_away_and_heals(up: Up) -> None:
    neuron = up.child("runworker")
    body = up.body(max_tokens=LASTING, stream=True)
    url = f"{up.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=up.headers, timeout=PATIENCE_S) as response:
        lines = response.iter_lines()
        next(lines)
        neuron.send_signal(signal.SIGSTOP)
        try:
            silent_s = time.monotonic()
            rest = [json.loads(line.removeprefix("data: ")) for line in lines if line and line != "data: [DONE]"]
            assert time.monotonic() - silent_s < SOON_S
            assert rest[-1]["error"]["code"] == "service_unavailable"
            refused = up.chat()
            assert refused.status_code == 503
            assert refused.json()["error"]["message"] == "No neuron is healthy now."
            assert refused.headers["retry-after"] == "5"
            health = httpx.get(f"{up.url}/health")
            assert (health.status_code, health.json()["reasons"]) == (503, ["No neuron is healthy."])
            assert httpx.get(f"{up.url}/health?live=1").status_code == 200
        finally:
            neuron.send_signal(signal.SIGCONT)
    wait_until(lambda: up.chat().status_code == 200, limit_s=SOON_S, what="the neuron to be healthy again")
