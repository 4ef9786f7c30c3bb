"""One place shows the counts of every process of `up`, and the client port shows none."""

from __future__ import annotations

import json
import re

import httpx

from tests.failures.conftest import Up
from tests.stack.running import SOON_S, wait_until


def value(text: str, name: str, **labels: str) -> float:
    """The sum of a metric over the lines that have these labels."""
    lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line)]
    hit = [line for line in lines if all(f'{label}="{wanted}"' in line for label, wanted in labels.items())]
    return sum(float(line.rsplit(" ", 1)[1]) for line in hit)


def test_requests_of_two_gateways_are_counted_together(up: Up) -> None:
    def metrics() -> str:
        return httpx.get(up.metrics_url).text

    before = metrics()
    gateways = json.loads(up.manage("fleet", "status", "--json"))["gateways"]
    for gateway in gateways:
        url = f"{gateway['url']}/v1/chat/completions"
        assert httpx.post(url, json=up.body(max_tokens=7), headers=up.headers, timeout=30).status_code == 200
        assert httpx.post(url, json=up.body(max_tokens=0), headers=up.headers).status_code == 400

    def risen(name: str, **labels: str) -> float:
        return value(metrics(), name, **labels) - value(before, name, **labels)

    at_tiny = {"model": "tiny", "node": "local"}
    wait_until(lambda: risen("helexa_requests_total", **at_tiny) == 2, limit_s=SOON_S, what="both requests")
    assert risen("helexa_completion_tokens_total", **at_tiny) == 14
    assert risen("helexa_prompt_tokens_total", **at_tiny) > 0
    assert risen("helexa_request_errors_total") == 2
    for histogram in ("request_duration_seconds", "time_to_first_token_seconds", "tokens_per_second"):
        assert risen(f"helexa_{histogram}_count", **at_tiny) == 2


def test_the_client_port_shows_no_metrics(up: Up) -> None:
    assert httpx.get(f"{up.url}/metrics").status_code == 404
