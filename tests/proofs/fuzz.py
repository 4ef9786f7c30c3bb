"""`make proof-fuzz`: whatever is wrong with a request, its dialect answers it, soon, and nothing is left open.

    python -m tests.proofs.fuzz --requests 20000 --seed 1

Good requests of every dialect with one thing wrong each. Exit status 1 if one of them was answered by a 5xx (but for
503 and 529 with Retry-After), took longer than it may, was answered in another shape than its dialect's, or left
something open in the books; or if a process kept memory of each request, or died.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.progress import track

from fleet.reports import REPORT_PERIOD_S
from tests.proofs.good_requests import GOOD
from tests.proofs.mutations import Sent, mutated
from tests.proofs.resident import Resident
from tests.proofs.running import Proving, proving
from tests.stack.running import PATIENCE_S

#: Longer than this nothing may take.
MOST_S = 10.0
GATEWAYS = 2
#: Until so many requests a process still grows: oneDNN's plans of shapes, what is imported late, malloc's arenas.
WARM_UP = 4_000
#: A process that keeps a request for good keeps several KiB.
MOST_KIB_PER_REQUEST = 1.0
#: So long nothing is asked before a look: a neuron that stays idle gives back what malloc holds free.
_REST_S = 3 * REPORT_PERIOD_S
#: With fewer requests than this behind the warm-up, 10 MiB look like growth.
WHOLE = 8_000
#: Requests between two looks at the memory.
_WAVE = 500
#: How a stream ends, by whether it is Anthropic's.
_ENDS = {
    True: ("message_stop", "event: error"),
    False: ("data: [DONE]", "response.completed", "response.incomplete", "response.failed"),
}


@dataclass
class Result:
    """What became of the requests, and what is wrong with that."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, sent: Sent, seconds: float, response: httpx.Response) -> None:
        self.statuses[response.status_code] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        fault = _fault(sent, response)
        if fault is None and seconds > MOST_S:
            fault = f"took {seconds:.1f} s"
        if fault is not None:
            self.faults.append(f"{sent.good.path}, {sent.what}: {fault}")


def _fault(sent: Sent, response: httpx.Response) -> str | None:
    """What is wrong with an answer."""
    status = response.status_code
    if status >= 500 and (status not in (503, 529) or "retry-after" not in response.headers):
        return f"{status}: {response.text[:300]}"
    kind = response.headers.get("content-type", "")
    if status == 200 and kind.startswith("text/event-stream"):
        return _stream_fault(response.text, anthropic=sent.good.anthropic)
    if not kind.startswith("application/json"):
        return f"{status} as {kind!r}"
    try:
        document = json.loads(response.content)
    except ValueError:
        return f"{status} with a body that is no JSON: {response.text[:200]}"
    if status == 200:
        return None if isinstance(document, dict) and "error" not in (document.get("error") or {}) else "200 and error"
    anthropic = sent.good.anthropic or "anthropic-version" in sent.headers
    return _envelope_fault(document, anthropic=anthropic)


def _envelope_fault(document: Any, *, anthropic: bool) -> str | None:
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str) or not error["message"]:
        return f"an error without a sentence: {document}"
    if anthropic:
        return None if document.get("type") == "error" and error.get("type") else f"not Anthropic's: {document}"
    return None if {"type", "param", "code"} <= error.keys() else f"not OpenAI's: {document}"


def _stream_fault(text: str, *, anthropic: bool) -> str | None:
    """What is wrong with a stream, which says how it ended."""
    ends = _ENDS[anthropic]
    return None if any(end in text for end in ends) else f"a stream without an end: {text[-200:]}"


async def _send(
    clients: Sequence[httpx.AsyncClient], requests: Sequence[Sent], result: Result, *, at_once: int
) -> None:
    """All of them, so many at a time, over the gateways in turn."""
    waiting = list(enumerate(requests))

    async def client() -> None:
        while waiting:
            number, sent = waiting.pop()
            started_s = time.monotonic()
            try:
                response = await clients[number % len(clients)].post(
                    sent.good.path, content=sent.body, headers=sent.headers
                )
            except httpx.HTTPError as fault:
                result.faults.append(f"{sent.good.path}, {sent.what}: {type(fault).__name__} {fault}")
            else:
                result.add(sent, time.monotonic() - started_s, response)

    await asyncio.gather(*(client() for _ in range(at_once)))


def _resident(up: Proving) -> Resident:
    """Of `up` with all that it started, the servers of Redis and PostgreSQL left out."""
    gateways = {f"gateway {number}": one for number, one in enumerate(up.children("serve"), 1)}
    return Resident({"up": psutil.Process(up.process.pid), **gateways, "neuron": up.child("runworker")})


def prove(up: Proving, *, requests: int, seed: int, at_once: int, progress: Console) -> tuple[Result, Resident]:
    dice, result, memory = random.Random(seed), Result(), _resident(up)
    for start in track(range(0, requests, _WAVE), "waves", console=progress):
        wave = [mutated(dice.choice(GOOD), dice) for _ in range(min(_WAVE, requests - start))]
        asyncio.run(_wave(up, wave, result, at_once=at_once))
        time.sleep(_REST_S)
        memory.look(start + len(wave))
    up.wait_nothing_open()
    result.faults += up.audit()["differences"]
    if requests >= WARM_UP + WHOLE:
        result.faults += [
            f"{name} grew by {kib:.2f} KiB per request after {WARM_UP}"
            for name, kib in memory.growth(after=WARM_UP).items()
            if kib > MOST_KIB_PER_REQUEST
        ]
    return result, memory


async def _wave(up: Proving, wave: Sequence[Sent], result: Result, *, at_once: int) -> None:
    clients = [
        httpx.AsyncClient(base_url=gateway.url, headers=up.headers, timeout=PATIENCE_S) for gateway in up.gateways()
    ]
    try:
        await _send(clients, wave, result, at_once=at_once)
    finally:
        for client in clients:
            await client.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-fuzz", description="Show that no request breaks a gateway.")
    parser.add_argument("--requests", type=int, default=20_000, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="what is asked follows from it (default %(default)s)")
    parser.add_argument("--at-once", type=int, default=16, help="default %(default)s")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    console = Console(stderr=True)
    # a model that never ends by itself takes all that a huge bound leaves it: that shall not be much
    with proving(gateways=GATEWAYS, workers=1, HELEXA_MAX_PROMPT_TOKENS="768") as up:
        result, memory = prove(
            up, requests=options.requests, seed=options.seed, at_once=options.at_once, progress=console
        )
    for fault in result.faults[:50]:
        console.print(f"  {fault}", highlight=False, markup=False, soft_wrap=True)
    print(
        f"{sum(result.statuses.values())} requests, seed {options.seed}: "
        + ", ".join(f"{count} x {status}" for status, count in sorted(result.statuses.items()))
        + f"; slowest {result.slowest_s:.2f} s; {len(result.faults)} faults\n"
        f"MiB after {_WAVE} and at the end: {memory}"
    )
    if options.requests > WARM_UP + _WAVE:
        growth = ", ".join(f"{name} {kib:+.2f}" for name, kib in memory.growth(after=WARM_UP).items())
        print(f"KiB per request after {WARM_UP}: {growth}")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
