"""A client that leaves stops the engine: within one step of the flag, and soon after the close."""

from __future__ import annotations

import re
import time

import httpx

from tests.models import LASTING
from tests.stack.running import PATIENCE_S, SOON_S, Key, Stack, wait_until

STEPS = r"{attempt}[^:]*: (?:cancel flag set|ended by cancel) at step (\d+)"


def steps_of_cancel(stack: Stack, request_id: str) -> list[int]:
    """The engine's step counter when the cancel flag of a request was set, and when the request ended."""
    pattern = STEPS.format(attempt=request_id.removeprefix("req_"))
    return [int(step) for step in re.findall(pattern, stack.log("neuron").read_text())]


def cancels_seen(stack: Stack) -> int:
    return stack.log("neuron").read_text().count("ended by cancel")


def test_the_engine_stops_within_one_step_and_soon(stack: Stack, url: str, key: Key, lasting: str) -> None:
    body = {"model": lasting, "messages": [{"role": "user", "content": "hi"}], "max_tokens": LASTING, "stream": True}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers=key.headers, timeout=PATIENCE_S
    ) as response:
        request_id = response.headers["x-request-id"]
        next(response.iter_lines())
    left_s = time.monotonic()
    wait_until(lambda: len(steps_of_cancel(stack, request_id)) == 2, what="the engine to stop")
    flag, end = steps_of_cancel(stack, request_id)
    assert time.monotonic() - left_s < SOON_S
    assert end - flag <= 1


def test_one_that_leaves_a_whole_answer_stops_it_too(stack: Stack, url: str, key: Key, lasting: str) -> None:
    body = {"model": lasting, "messages": [{"role": "user", "content": "bye"}], "max_tokens": LASTING}
    before = cancels_seen(stack)
    stack.leave_a_whole_answer(f"{url}/v1/chat/completions", body, key)
    wait_until(lambda: cancels_seen(stack) > before, limit_s=SOON_S, what="the engine to stop")
