"""Waiting until clients can be answered: every gateway says so itself, and the model is loaded on every neuron."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import redis

from fleet.live import live_gateways, live_neurons
from fleet.reports import NeuronReport
from helexa.home import StartError
from helexa.up.child import Child

POLL_S = 0.2
#: A child that died so often before it was ever ready will not be better the next time.
DEATHS_LIMIT = 3

Progress = Callable[[str], None]


def connect(url: str) -> redis.Redis:
    """A client of that Redis. Raises StartError where it does not answer."""
    address = urlsplit(url)
    try:
        client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        client.ping()
    except (redis.RedisError, ValueError) as error:
        raise StartError(
            f"Redis at {address.hostname}:{address.port} cannot be used ({error}): check REDIS_URL."
        ) from error
    return client


async def wait_for_gateways(gateways: Sequence[Child], client: redis.Redis, progress: Progress) -> None:
    for child in gateways:
        while (reason := await asyncio.to_thread(_why_not_ready, child.pid, client)) is not None:
            _check_alive(child)
            progress(f"{child.name}: {reason}")
            await asyncio.sleep(POLL_S)


async def wait_for_model(model_id: str, neurons: Sequence[Child], client: redis.Redis, progress: Progress) -> None:
    """Until these neurons, whose children have their names, all report the model as loaded."""
    for child in neurons:
        began_s = time.time()
        while not await asyncio.to_thread(_has_loaded, model_id, child, client, progress):
            _check_alive(child)
            await asyncio.sleep(POLL_S)
        progress(f"{child.name}: loaded {model_id} after {time.time() - began_s:.0f} s")


def _why_not_ready(pid: int | None, client: redis.Redis) -> str | None:
    """None when that very process answers that it is ready; at the port of all gateways any of them would answer."""
    url = next((gateway.url for gateway in live_gateways(client) if gateway.pid == pid), None)
    if url is None:
        return "starting"
    try:
        with urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310 - the address came from a gateway of ours
            health = json.load(answer)
    except HTTPError as error:
        health = json.loads(error.read() or "{}")
    except (OSError, HTTPException, ValueError):
        return "starting"
    return None if health.get("ready") is True else " ".join(health.get("reasons", [])) or "starting"


def _has_loaded(model_id: str, child: Child, client: redis.Redis, progress: Progress) -> bool:
    report = _report_of(child, client)
    model = next((model for model in report.models if model.id == model_id), None) if report is not None else None
    if model is None:
        progress(f"{child.name}: starting")
        return False
    if model.status == "failed":
        reason = model.progress or f"see {child.log_path}."
        raise StartError(f"The model {model_id} cannot be loaded on {child.name}: {reason}")
    if model.status == "loading":
        progress(f"{child.name}: loading {model_id}" + (f", {model.progress}" if model.progress else ""))
    return model.status == "loaded"


def _report_of(child: Child, client: redis.Redis) -> NeuronReport | None:
    """What the present process says; Redis also has the last words of the one before it."""
    for neuron in live_neurons(client):
        if neuron.report.name == child.name and neuron.report.started_at >= child.started_at:
            return neuron.report
    return None


def _check_alive(child: Child) -> None:
    if child.deaths >= DEATHS_LIMIT:
        last = next((line for line in reversed(child.tail) if line.strip()), "it printed nothing")
        raise StartError(
            f"{child.name} ended {child.deaths} times, the last time with: {last[:300]}; see {child.log_path}."
        )
