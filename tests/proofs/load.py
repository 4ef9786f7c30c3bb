"""Clients that ask without end, of whichever gateways live while others die, and what became of each request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from tests.proofs.asking import Seen, Wish, ask, connections
from tests.proofs.running import Proving
from tests.proofs.tenants import Cap, IssuedKey, Tenant, open_tenants

#: After an error: who is refused does not ask in a tight loop.
PAUSE_S = 0.2


def tenants(name: str) -> list[Tenant]:
    """Caps that a round does not use up, so that there is work all the time, and one of seconds that it does."""
    wide = (Cap("tokens", 10**9), Cap("usd", "1000"))
    return [
        Tenant(f"{name}-wide", wide, (wide, ())),
        Tenant(f"{name}-narrow", (Cap("tokens", 10**9),), ((Cap("tokens", 600, "rolling:2"),),)),
        Tenant(f"{name}-uncapped", (), ((),)),
    ]


def open_keys(up: Proving, name: str) -> list[IssuedKey]:
    return open_tenants(up, tenants(name))


def wish(dice: random.Random, key: IssuedKey) -> Wish:
    stream = dice.random() < 0.6
    leaves = dice.random() < 0.1
    return Wish(
        key.secret,
        stream=stream,
        n=3 if dice.random() < 0.2 else 1,
        max_tokens=dice.randint(1, 120),
        seed=dice.randint(0, 10**6),
        leaves_after_chunks=dice.randint(1, 30) if leaves and stream else None,
        leaves_after_s=dice.uniform(0.02, 0.6) if leaves and not stream else None,
    )


class Load:
    """So many clients, spread over the gateways of `urls`, which may change while they ask.

    `running` are requests that have no end yet. Use as `async with`; leaving it lets what runs end.
    """

    def __init__(self, keys: Sequence[IssuedKey], urls: Sequence[str], *, clients: int, seed: str) -> None:
        self.urls = list(urls)
        self.seen: list[Seen] = []
        self._keys = keys
        self._clients = clients
        self._seed = seed
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        dice = random.Random(f"{self._seed} {number}")
        key = self._keys[number % len(self._keys)]
        async with connections() as http:
            while not self._stopping:
                urls = self.urls
                one = await ask(http, urls[number % len(urls)], wish(dice, key))
                self.seen.append(one)
                if one.end in ("error", "cut"):
                    await asyncio.sleep(dice.uniform(0, 2 * PAUSE_S))

    async def answered(self, number: int, *, since_s: float, limit_s: float = 60.0) -> float:
        """When so many requests that were asked after `since_s` had whole answers. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while True:
                whole = sorted(one.ended_s for one in self.seen if one.end == "whole" and one.asked_s > since_s)
                if len(whole) >= number:
                    return whole[number - 1]
                await asyncio.sleep(0.05)
