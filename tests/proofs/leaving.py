"""`make proof-leaving`: clients of every dialect leave at random points; all is settled, and the engine is idle soon.

    python -m tests.proofs.leaving --clients 500 --seed 1

Each asks for a long answer and closes its connection before it is whole. Exit status 1 if something was left open, if
the books differ, or if the neuron worked on longer than a second (its reports come once a second) after the last left.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx

from tests.proofs.running import Proving, proving
from tests.stack.running import wait_until

GATEWAYS = 2
#: How long the engine may work on after the last client has left, and how often a neuron reports.
IDLE_WITHIN_S = 1.0
REPORTS_EVERY_S = 1.0
_TURNS = [{"role": "user", "content": "Tell me everything."}]
_LONG = 3000
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": _TURNS, "max_tokens": _LONG},
    "/v1/completions": {"prompt": "Once", "max_tokens": _LONG},
    "/v1/responses": {"input": "Tell me everything.", "max_output_tokens": _LONG},
    "/v1/messages": {"messages": _TURNS, "max_tokens": _LONG},
}


class Left(NamedTuple):
    """How far a client came: `bytes_read` of a stream, after `status` or before it."""

    path: str
    status: int | None
    bytes_read: int


async def leave(url: str, headers: dict[str, str], dice: random.Random) -> Left:
    """Ask, and leave after a random time or a random number of bytes."""
    path = dice.choice(list(_BODIES))
    body = {"model": "tiny", "stream": dice.random() < 0.8, **_BODIES[path]}
    patience_s, most_bytes = dice.expovariate(1 / 0.7), dice.choice((1, 500, 5_000, 10**9))
    status, read = None, 0
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None) as client:
        try:
            async with asyncio.timeout(patience_s), client.stream("POST", path, json=body) as response:
                status = response.status_code
                async for piece in response.aiter_raw():
                    read += len(piece)
                    if read > most_bytes:
                        break
        except TimeoutError:
            pass
    return Left(path, status, read)


async def all_leave(
    urls: Sequence[str], headers: dict[str, str], *, clients: int, at_once: int, seed: int
) -> list[Left]:
    room = asyncio.Semaphore(at_once)

    async def one(number: int) -> Left:
        async with room:
            return await leave(urls[number % len(urls)], headers, random.Random(f"{seed} {number}"))

    return await asyncio.gather(*(one(number) for number in range(clients)))


def prove(up: Proving, *, clients: int, at_once: int, seed: int) -> tuple[list[Left], float, list[str]]:
    """What each client saw, seconds until the neuron reported that it has nothing to do, and what is wrong."""
    urls = [gateway.url for gateway in up.gateways()]
    left = asyncio.run(all_leave(urls, up.headers, clients=clients, at_once=at_once, seed=seed))
    since_s = time.monotonic()
    wait_until(lambda: not any(neuron.running for neuron in up.neurons()), what="the neuron to have nothing to do")
    idle_s = time.monotonic() - since_s
    up.wait_nothing_open()
    faults = list(up.audit()["differences"])
    if idle_s > IDLE_WITHIN_S + REPORTS_EVERY_S:
        faults.append(f"the neuron said only after {idle_s:.1f} s that it has nothing to do")
    faults += [f"{one.path} answered {one.status}" for one in left if one.status not in (None, 200, 503, 529)]
    return left, idle_s, faults


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-leaving", description="Show what clients that leave cost.")
    parser.add_argument("--clients", type=int, default=500, help="default %(default)s")
    parser.add_argument("--at-once", type=int, default=32, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="when each leaves follows from it (default %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    with proving(gateways=GATEWAYS, workers=1) as up:
        left, idle_s, faults = prove(up, clients=options.clients, at_once=options.at_once, seed=options.seed)
    paths = Counter(one.path for one in left)
    print(
        f"{len(left)} clients left ({', '.join(f'{count} x {path}' for path, count in sorted(paths.items()))}): "
        f"{sum(one.status is None for one in left)} before the answer began, "
        f"{sum(one.bytes_read > 0 for one in left)} while it streamed; "
        f"the neuron reported idle after {idle_s:.2f} s; {len(faults)} faults"
    )
    for fault in faults[:20]:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
