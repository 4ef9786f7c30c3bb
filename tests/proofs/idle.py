"""`make proof-idle`: what an open stream that says nothing costs a gateway, in memory.

    python -m tests.proofs.idle --streams 2000

Opens the streams on a tiny model, stops its neuron as a signal does, and looks at the gateway before they came and once
nothing moves any more.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import sys
from collections.abc import Sequence

import httpx

from tests.failures.conftest import Up
from tests.proofs.running import proving

#: More than the neuron writes before it is stopped.
_ENDLESS = 1_500
_AT_ONCE = 100
#: Long enough for what was under way to arrive, and shorter than a silent neuron is believed in.
_SETTLED_S = 1.5


async def _held(up: Up, streams: int) -> tuple[int, int]:
    """Resident bytes of the gateway before the streams and with them."""
    gateway, neuron = up.child("serve"), up.child("runworker")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": _ENDLESS, "stream": True}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers=up.headers, timeout=60, limits=limits) as client:

        async def read(begun: asyncio.Event) -> None:
            async with client.stream("POST", f"{up.url}/v1/chat/completions", json=body) as response:
                response.raise_for_status()
                async for _ in response.aiter_raw():
                    begun.set()

        async def opened(tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
            begun = asyncio.Event()
            reader = tasks.create_task(read(begun))
            await begun.wait()
            return reader

        readers: list[asyncio.Task[None]] = []
        before = gateway.memory_info().rss
        async with asyncio.TaskGroup() as tasks:
            while len(readers) < streams:
                some = min(_AT_ONCE, streams - len(readers))
                readers += await asyncio.gather(*(opened(tasks) for _ in range(some)))
            neuron.suspend()
            await asyncio.sleep(_SETTLED_S)
            held = gateway.memory_info().rss
            for reader in readers:
                reader.cancel()
            neuron.resume()
    return before, held


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-idle", description="Measure what open streams cost in memory.")
    parser.add_argument("--streams", type=int, default=2000, help="default %(default)s")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    room = {"HELEXA_ADMISSION__MAX_IN_FLIGHT": str(options.streams), "HELEXA_ADMISSION__MAX_QUEUE_DEPTH": "1000"}
    with proving(gateways=1, workers=1, **room) as up:
        before, held = asyncio.run(_held(up, options.streams))
    each = (held - before) / options.streams / 1024
    print(
        f"{options.streams} open streams on Daphne: {before / 2**20:.0f} MiB before, "
        f"{held / 2**20:.0f} MiB with them, {each:.0f} KiB each"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
