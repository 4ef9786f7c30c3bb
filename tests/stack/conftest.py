"""The running stack that these tests share: they all run on one worker of pytest-xdist, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import psycopg
import pytest
import redis

from tests.models import LASTING_CONTEXT, tiny_model
from tests.stack.running import Key, Stack, a_database, wait_until

#: A Redis number that no worker of pytest-xdist has (tests/servers.py).
REDIS_NUMBER = 16


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    redis_url = f"{os.environ['REDIS_URL'].rsplit('/', 1)[0]}/{REDIS_NUMBER}"
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with a_database() as database_url:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HELEXA_HOME": str(folder / "home"),
        }
        running = Stack(folder, environment | {"HELEXA_LOG_LEVEL": "debug"})
        source = tiny_model(folder / "tiny", eos=False)
        running.manage("migrate", "--verbosity", "0")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO fleet_profile (model_id, source, harness, pinned_on, created_at) VALUES"
                " (%s, %s, 'torch', %s, now()), ('elsewhere', '/nowhere', 'torch', '{}', now())",
                [running.model, str(source), [running.neuron_name]],
            )
        try:
            running.start_neuron()
            for server in ("daphne", "uvicorn"):
                running.start_gateway(server)
            for server in ("daphne", "uvicorn"):
                running.wait_ready(server)
            wait_until(lambda: _holds_the_model(running), what="the tiny model to be loaded")
            yield running
        finally:
            running.stop()


def _holds_the_model(running: Stack) -> bool:
    """Whether every gateway has heard that the model is loaded; asked with a wrong key it could not say."""
    logs = [running.log(server).read_text() for server in running.gateways]
    neuron = running.log("neuron").read_text()
    assert running.processes["neuron"].poll() is None, neuron
    return "model_loaded" in neuron and all(logs)


@pytest.fixture(scope="session")
def key(stack: Stack) -> Key:
    """A key that may do what any tenant's key may."""
    issued = stack.issue_key()
    for url in stack.gateways.values():

        def loaded(url: str = url) -> bool:
            models = httpx.get(f"{url}/v1/models", headers=issued.headers).json()["data"]
            return any(model["id"] == stack.model and model["loaded"] for model in models)

        wait_until(loaded, what="the model to be listed as loaded")
    return issued


@pytest.fixture(scope="module")
def lasting(stack: Stack, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a model whose answers may take long enough for whatever happens to them."""
    name = "lasting"
    source = tiny_model(tmp_path_factory.mktemp(name) / name, eos=False, max_position_embeddings=LASTING_CONTEXT)
    with stack.also_serving(name, source, key):
        yield name


@pytest.fixture(params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest, stack: Stack) -> str:
    """The path behaves the same under both servers, so its tests run under both."""
    name: str = request.param
    return name


@pytest.fixture
def url(stack: Stack, server: str) -> str:
    return stack.gateways[server]
