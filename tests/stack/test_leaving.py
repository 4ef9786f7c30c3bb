"""A client that leaves stops the engine: within one step of the flag, and within a second of the close."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from tests.stack.running import Key, Stack, wait_until

STEPS = r"{attempt}[^:]*: (?:cancel flag set|ended by cancel) at step (\d+)"


def steps_of_cancel(stack: Stack, request_id: str) -> list[int]:
    """The engine's step counter when the cancel flag of a request was set, and when the request ended."""
    pattern = STEPS.format(attempt=request_id.removeprefix("req_"))
    return [int(step) for step in re.findall(pattern, stack.log("neuron").read_text())]


def cancels_seen(stack: Stack) -> int:
    return stack.log("neuron").read_text().count("ended by cancel")


def test_the_engine_stops_within_one_step_and_one_second(stack: Stack, url: str, key: Key) -> None:
    body = {"model": stack.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1900, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=key.headers, timeout=30) as response:
        request_id = response.headers["x-request-id"]
        next(response.iter_lines())
    left_s = time.monotonic()
    wait_until(lambda: len(steps_of_cancel(stack, request_id)) == 2, what="the engine to stop")
    flag, end = steps_of_cancel(stack, request_id)
    assert time.monotonic() - left_s < 1
    assert end - flag <= 1


def test_one_that_leaves_a_whole_answer_stops_it_too(stack: Stack, url: str, key: Key) -> None:
    body = {"model": stack.model, "messages": [{"role": "user", "content": "bye"}], "max_tokens": 1900}
    before = cancels_seen(stack)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/chat/completions", json=body, headers=key.headers, timeout=0.5)
    wait_until(lambda: cancels_seen(stack) > before, limit_s=5, what="the engine to stop")
