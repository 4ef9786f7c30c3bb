"""A stream is not silent while its model is: what fills the silence comes through HTTP, and then the answer goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.models import LASTING
from tests.stack.running import PATIENCE_S, Key, Stack

#: A silence is filled this soon here, so that it need not last.
SOON_S = "0.05"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]

#: Path and body of a stream, what one of its lines has if there is text in it, and the line that fills a silence.
STREAMS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "chat": ("chat/completions", {"messages": HELLO, "max_tokens": LASTING}, '"content":"', ": keep-alive"),
    "completions": ("completions", {"prompt": "hello", "max_tokens": LASTING}, '"text":"', ": keep-alive"),
    "responses": ("responses", {"input": "hello", "max_output_tokens": LASTING}, "output_text.delta", ": keep-alive"),
    "followed": (
        "responses",
        {"input": "hello", "background": True, "max_output_tokens": LASTING},
        "output_text.delta",
        ": keep-alive",
    ),
    "messages": ("messages", {"messages": HELLO, "max_tokens": LASTING}, "text_delta", "event: ping"),
}


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def impatient_url(request: pytest.FixtureRequest, stack: Stack, key: Key) -> Iterator[str]:
    """A gateway that fills silences soon."""
    name = f"impatient-{request.param}"
    url = stack.start_gateway(request.param, name=name, HELEXA_KEEP_ALIVE_SECS=SOON_S)
    try:
        stack.wait_ready(name)
        yield url
    finally:
        stack.processes[name].kill()
        stack.processes[name].wait()
        del stack.gateways[name], stack.processes[name]


@contextmanager
def standing_still(stack: Stack) -> Iterator[None]:
    """The neuron does nothing; nobody takes it for dead within seconds."""
    neuron = stack.processes["neuron"]
    neuron.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        neuron.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", STREAMS)
def test_a_silence_is_filled_and_the_answer_goes_on(
    impatient_url: str, stack: Stack, key: Key, lasting: str, name: str
) -> None:
    path, fields, text, filler = STREAMS[name]
    body = {"model": lasting, "stream": True, **fields}
    url = f"{impatient_url}/v1/{path}"
    with httpx.stream("POST", url, json=body, headers=key.headers, timeout=PATIENCE_S) as answer:
        assert answer.status_code == 200
        lines = (line for line in answer.iter_lines() if line)
        until(lines, lambda line: text in line)
        with standing_still(stack):
            for _ in range(2):
                until(lines, lambda line: line == filler)
        until(lines, lambda line: text in line)
        if "background" in body:  # nothing else ends it
            response_id = answer.headers["x-request-id"].replace("req_", "resp_")
            httpx.post(f"{url}/{response_id}/cancel", headers=key.headers, timeout=PATIENCE_S).raise_for_status()


def until(lines: Iterator[str], wanted: Callable[[str], bool]) -> None:
    """Read up to such a line. A stream that breaks has none and ends."""
    assert next((line for line in lines if wanted(line)), None) is not None, "the stream ended"
