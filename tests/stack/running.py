"""A whole helexa for tests: gateways under both servers and a neuron with a tiny torch model, each a real process."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import redis

from fleet.live import live_neurons
from helexa.home import REPOSITORY
from helexa.loadtest.scratch import drop_database
from tests.processes import manage

Result = TypeVar("Result")

#: Nothing in a test takes this long; what does has failed.
PATIENCE_S = 60.0
#: What is promised within some seconds: so long it may take where other tests share the cores.
SOON_S = 20.0


def wait_until(look: Callable[[], Result], *, limit_s: float = PATIENCE_S, what: str = "it") -> Result:
    """Look again and again until the answer is true, and return it. Faults of an unreachable server count as no."""
    until_s = time.monotonic() + limit_s
    while True:
        try:
            if seen := look():
                return seen
        except httpx.TransportError:
            pass
        assert time.monotonic() < until_s, f"waited {limit_s} s in vain for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Key:
    secret: str
    key_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


@dataclass
class Stack:
    """Its own database, Redis number and folder. `model` is what the neuron holds; `gateways` are by server."""

    folder: Path
    environment: dict[str, str]
    model: str = "tiny"
    neuron_name: str = "stack"
    gateways: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # -- processes -----------------------------------------------------------------------------

    def manage(self, *arguments: str) -> str:
        """Run a command beside the stack and return its stdout."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as output:
            process = subprocess.Popen(
                manage(*arguments),
                cwd=REPOSITORY,
                env=self.environment | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_gateway(self, server: str, *, name: str | None = None, **environment: str) -> str:
        """Start a gateway, known by its server unless it gets a name of its own, and return its URL."""
        name = name or server
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        metrics = {"HELEXA_METRICS_LISTEN": f"127.0.0.1:{free_port()}"}
        self.start(name, "serve", "--port", str(port), "--server", server, **metrics, **environment)
        self.gateways[name] = url
        return url

    def start_neuron(self) -> None:
        self.start("neuron", "runworker", "--name", self.neuron_name, "--devices", "cpu")

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    # -- what tests ask ------------------------------------------------------------------------

    def wait_ready(self, name: str) -> None:
        def answers() -> bool:
            assert self.processes[name].poll() is None, self.log(name).read_text()
            return httpx.get(f"{self.gateways[name]}/health").status_code == 200

        wait_until(answers, what=f"{name} to be ready")

    @contextmanager
    def also_serving(self, model: str, source: Path, key: Key) -> Iterator[None]:
        """Another model beside the stack's own, from when every gateway knows that it is loaded."""
        self.sql(
            "INSERT INTO fleet_profile (model_id, source, harness, pinned_on, created_at)"
            " VALUES (%s, %s, 'torch', %s, now())",
            model,
            str(source),
            [self.neuron_name],
        )
        for url in self.gateways.values():

            def loaded(url: str = url) -> bool:
                listed = httpx.get(f"{url}/v1/models", headers=key.headers).json()["data"]
                return any(one["id"] == model and one["loaded"] for one in listed)

            wait_until(loaded, what=f"{model} to be loaded")
        yield
        self.sql("DELETE FROM fleet_profile WHERE model_id = %s", model)
        self.manage("fleet", "unload", model)

    def issue_key(self, account: str = "team", *options: str) -> Key:
        issued = json.loads(self.manage("issue_key", "--account", account, *options, "--json"))
        return Key(issued["key"], issued["key_id"])

    def sql(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(statement, parameters)

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()

    def chat(self, server: str, key: Key, **fields: Any) -> httpx.Response:
        body = {"model": self.model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, **fields}
        url = f"{self.gateways[server]}/v1/chat/completions"
        return httpx.post(url, json=body, headers=key.headers, timeout=PATIENCE_S)

    def in_flight(self, model: str) -> int:
        """How many requests its neuron runs of a model, by what it reported last."""
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            models = [model for neuron in live_neurons(client) for model in neuron.report.models]
        return sum(one.in_flight for one in models if one.id == model)

    def leave_a_whole_answer(self, url: str, body: dict[str, Any], key: Key) -> None:
        """Ask for an answer in one piece, and leave while it is being generated. Nobody else may ask the model."""
        wait_until(lambda: self.in_flight(body["model"]) == 0, what="the neuron to be idle")
        asked = urlsplit(url)
        assert asked.hostname is not None
        connection = HTTPConnection(asked.hostname, asked.port)
        headers = {**key.headers, "Content-Type": "application/json"}
        connection.request("POST", asked.path, json.dumps(body), headers)
        wait_until(lambda: self.in_flight(body["model"]), what="the neuron to run it")
        connection.close()


def database_url(name: str) -> str:
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


@contextmanager
def a_database() -> Iterator[str]:
    """The URL of an empty database, dropped afterwards."""
    name = f"helexa_stack_{secrets.token_hex(4)}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
    yield database_url(name)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        drop_database(server, name)
