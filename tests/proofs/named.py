"""The failures that have a name: parts that do not die but are away, stopped or cut off, and an answer that is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil

from helexa.home import REPOSITORY
from tests.proofs.asking import Seen, Wish, ask
from tests.proofs.load import Load, open_keys
from tests.proofs.outcomes import Outcome, outcome
from tests.proofs.proxy import Proxy
from tests.proofs.running import Proving
from tests.proofs.tenants import IssuedKey
from tests.stack.running import free_port

BEFORE_S = 2.0
AFTERWARDS_S = 2.0
LOSE_COMMITS_EVERY = 5


def cases(up: Proving, *, clients: int) -> Iterator[Outcome]:
    keys = open_keys(up, "named")
    yield asyncio.run(postgresql_away(up, keys, clients=clients))
    yield asyncio.run(gateway_stopped(up, keys, clients=clients))
    yield asyncio.run(neuron_cut_off(up, keys, clients=clients))
    yield asyncio.run(commits_lost(up, keys, clients=clients))


async def postgresql_away(up: Proving, keys: Sequence[IssuedKey], *, clients: int, away_s: float = 90.0) -> Outcome:
    """PostgreSQL takes connections and answers nothing, while long streams run and others ask."""
    began = up.ledger.now()
    urls = [gateway.url for gateway in up.gateways()]
    async with Load(keys, urls, clients=clients, seed="postgresql") as load, _long_streams(keys, urls) as streams:
        await asyncio.sleep(BEFORE_S)
        server = up.children("postgres")[0]
        family = [server, *server.children(recursive=True)]
        died_s = time.monotonic()
        try:
            for process in family:
                process.suspend()
            await asyncio.sleep(away_s)
        finally:
            for process in reversed(family):
                process.resume()
        back_s = time.monotonic()
        well_s = await load.answered(clients, since_s=back_s) - back_s
        await asyncio.sleep(AFTERWARDS_S)
    return await asyncio.to_thread(
        outcome,
        up,
        f"PostgreSQL away for {away_s:g} s",
        [*load.seen, *streams],
        keys,
        began=began,
        died_s=died_s,
        well_after_s=well_s,
    )


async def gateway_stopped(up: Proving, keys: Sequence[IssuedKey], *, clients: int, stopped_s: float = 10.0) -> Outcome:
    """A gateway stands still for long enough to be given up, and goes on: time counts from there."""
    began = up.ledger.now()
    gateway = up.gateways()[0]
    urls = [one.url for one in up.gateways()]
    async with Load(keys, urls, clients=clients, seed="gateway") as load, _long_streams(keys, urls) as streams:
        await asyncio.sleep(BEFORE_S)
        process = psutil.Process(gateway.pid)
        process.suspend()
        try:
            await asyncio.sleep(stopped_s)
        finally:
            process.resume()
        back_s = time.monotonic()
        await asyncio.to_thread(up.wait_well)
        well_s = await load.answered(clients, since_s=back_s) - back_s
        await asyncio.sleep(AFTERWARDS_S)
    return await asyncio.to_thread(
        outcome,
        up,
        f"a gateway stopped for {stopped_s:g} s",
        [*load.seen, *streams],
        keys,
        began=began,
        died_s=back_s,
        well_after_s=well_s,
        may_fail_from_s=back_s - stopped_s,
    )


async def neuron_cut_off(up: Proving, keys: Sequence[IssuedKey], *, clients: int, cut_s: float = 20.0) -> Outcome:
    """Nothing passes between one neuron and Redis, and neither is told; what was sent arrives when it is over."""
    began = up.ledger.now()
    redis_at = urlsplit(up.redis_url)
    async with Proxy(redis_at.hostname or "", redis_at.port or 0) as proxy, _a_neuron(up, proxy.port):
        urls = [gateway.url for gateway in up.gateways()]
        async with Load(keys, urls, clients=clients, seed="neuron") as load:
            await asyncio.sleep(BEFORE_S)
            died_s = time.monotonic()
            proxy.silence()
            await asyncio.sleep(cut_s)
            proxy.speak()
            back_s = time.monotonic()
            await asyncio.to_thread(up.wait_well, neurons=3)
            well_s = await load.answered(clients, since_s=back_s) - back_s
            await asyncio.sleep(AFTERWARDS_S)
        return await asyncio.to_thread(
            outcome,
            up,
            f"a neuron cut off from Redis for {cut_s:g} s",
            load.seen,
            keys,
            began=began,
            died_s=died_s,
            well_after_s=well_s,
        )


async def commits_lost(up: Proving, keys: Sequence[IssuedKey], *, clients: int, seconds: float = 15.0) -> Outcome:
    """Every fifth answer to a COMMIT of one gateway's booking loop is lost on its way, and the connection with it."""
    began = up.ledger.now()
    database_at = urlsplit(up.database_url)
    async with Proxy(database_at.hostname or "", database_at.port or 0) as proxy, _a_gateway(up, proxy.port) as url:
        died_s = time.monotonic()
        async with Load(keys, [url], clients=clients, seed="commits") as load:
            proxy.lose_commits_every = LOSE_COMMITS_EVERY
            await asyncio.sleep(seconds)
            proxy.lose_commits_every = 0
            back_s = time.monotonic()
            well_s = await load.answered(clients, since_s=back_s) - back_s
        assert proxy.lost, "no answer was lost, so nothing was shown"
        return await asyncio.to_thread(
            outcome,
            up,
            f"{proxy.lost} commits whose answer is lost",
            load.seen,
            keys,
            began=began,
            died_s=died_s,
            well_after_s=well_s,
        )


# -- what the cases need -----------------------------------------------------------------------------


@asynccontextmanager
async def _long_streams(keys: Sequence[IssuedKey], urls: Sequence[str]) -> AsyncIterator[list[Seen]]:
    """One long stream at each gateway; what they saw is in the list once they have ended."""
    seen: list[Seen] = []
    async with httpx.AsyncClient(timeout=None) as http:
        wish = Wish(keys[0].secret, stream=True, max_tokens=1900, seed=1)
        streams = [asyncio.create_task(ask(http, url, wish)) for url in urls]
        yield seen
        seen += await asyncio.gather(*streams)


@asynccontextmanager
async def _a_neuron(up: Proving, redis_port: int) -> AsyncIterator[None]:
    """A third neuron with the model, that reaches Redis through the proxy."""
    environment = up.environment | {"REDIS_URL": _through(up.redis_url, redis_port), "OMP_NUM_THREADS": "1"}
    async with _a_process(environment, "runworker", "--name", "remote", "--devices", "cpu"):
        await asyncio.to_thread(up.wait_named, "remote")
        await asyncio.to_thread(up.manage, "fleet", "load", "tiny", "--neuron", "remote")
        await asyncio.to_thread(up.wait_well, neurons=3)
        yield


@asynccontextmanager
async def _a_gateway(up: Proving, database_port: int) -> AsyncIterator[str]:
    """The URL of a third gateway, that reaches PostgreSQL through the proxy."""
    port = free_port()
    environment = up.environment | {
        "DATABASE_URL": _through(up.database_url, database_port),
        "REDIS_URL": up.redis_url,
        "HELEXA_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    async with _a_process(environment, "serve", "--port", str(port)):
        await asyncio.to_thread(up.wait_well, gateways=3)
        yield f"http://127.0.0.1:{port}"


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


@asynccontextmanager
async def _a_process(environment: dict[str, str], *command: str) -> AsyncIterator[None]:
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command], cwd=REPOSITORY, env=environment, stdout=nowhere, stderr=nowhere
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
