"""The processes of a load test: the stack that is measured, and the generator that measures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from helexa.embedded.place import Place
from helexa.embedded.ports import free_port
from helexa.embedded.postgres import Postgres
from helexa.embedded.program import Program
from helexa.home import REPOSITORY, Home, StartError
from helexa.loadtest import generator
from helexa.loadtest.generator import Plan, Result

HOST = "127.0.0.1"
READY = b"helexa ready: "
#: `up` drains, then ends its children in order.
STOP_LIMIT_S = 60
#: What an operator set for an installation says nothing about a load test.
_NOT_INHERITED = ("HELEXA_", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR")


@contextmanager
def gateway(
    *, server: str, key: str, database_url: str | None, redis_url: str | None, gateways: int = 1
) -> Iterator[str]:
    """The URL of ready gateways with an echo neuron behind them, as `up` starts them in a home of their own.

    Where a URL is None `up` brings its embedded server. Raises StartError with the reason where it does not start.
    """
    with _temporary_home() as home:
        port = free_port([HOST])
        environment = {
            **_inherited(),
            "HELEXA_HOME": str(home.path),
            "HELEXA_HOST": HOST,
            "HELEXA_PORT": str(port),
            "HELEXA_API_KEY": key,
            "HELEXA_HARNESS": "echo",
            "HELEXA_ALLOW_ECHO": "1",
            "HELEXA_REQUIRE_AUTH": "false",
        }
        if database_url is not None:
            environment["DATABASE_URL"] = database_url
        if redis_url is not None:
            environment["REDIS_URL"] = redis_url
        options = ["--server", server, "--gateways", str(gateways)]
        program = Program(
            [sys.executable, str(REPOSITORY / "manage.py"), "up", "--no-restart", *options],
            environment,
            orphan_signal=signal.SIGTERM,
            folder=REPOSITORY,
        )
        log = home.path / "up.log"
        with log.open("wb") as stderr:
            up = program.start(stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert up.stdout is not None
            if not any(line.startswith(READY) for line in up.stdout):
                raise StartError(f"The gateway of the load test did not start: {_last_line(log)}")
            yield f"http://{HOST}:{port}"
        finally:
            _end(up)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database on an embedded server of the load test's own."""
    with _temporary_home() as home:
        server = Postgres(home, Place.of(home))
        server.prepare()
        log = home.path / "postgres.log"
        with log.open("wb") as output:
            process = server.program().start(stdout=output, stderr=subprocess.STDOUT)
        try:
            while not server.is_ready():
                if process.poll() is not None:
                    raise StartError(server.explain(log.read_text(errors="replace")))
                time.sleep(0.05)
            yield server.url
        finally:
            process.send_signal(server.program().stop_signal)
            process.wait()


def set_caps(url: str, key: str) -> None:
    """Give the key and its account caps that no load test reaches, so that every request is held to two budgets.

    Raises StartError.
    """
    with httpx.Client(base_url=f"{url}/api/", headers={"Authorization": f"Bearer {key}"}, timeout=10) as api:
        me = api.get("me").raise_for_status().json()
        for owner in (f"keys/{me['key']['key_id']}", f"accounts/{me['accounts'][0]['id']}"):
            answer = api.put(f"{owner}/budgets/tokens", json={"cap": 10**15})
            if answer.is_error:
                raise StartError(f"The load test cannot set a cap: {answer.text}")


def migrate(database_url: str) -> None:
    """Make the tables in an empty database, in a process whose Django knows no other one."""
    environment = {**os.environ, "DATABASE_URL": database_url}
    migrated = Program(
        [sys.executable, str(REPOSITORY / "manage.py"), "migrate", "--verbosity", "0"], environment, folder=REPOSITORY
    ).run()
    if migrated.returncode != 0:
        raise StartError(f"The scratch database cannot be migrated: {migrated.stdout.decode(errors='replace')}")


def measure(plan: Plan) -> Result | None:
    """What the generator found, None where it could not measure; the reason is on stderr then."""
    program = Program(
        [sys.executable, "-m", generator.__name__], os.environ, stdin=msgspec.json.encode(plan), folder=REPOSITORY
    )
    process = program.start(stdout=subprocess.PIPE)
    try:
        output, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    return msgspec.json.decode(output, type=Result) if process.returncode == 0 else None


@contextmanager
def _temporary_home() -> Iterator[Home]:
    folder = Path(tempfile.mkdtemp(prefix="helexa-loadtest-")).resolve()
    folder.chmod(0o711)  # as root, the embedded servers' user must pass through
    home = Home(folder)
    try:
        yield home
    finally:
        shutil.rmtree(home.servers.resolve(), ignore_errors=True)  # it may lie elsewhere
        shutil.rmtree(folder, ignore_errors=True)


def _inherited() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}


def _end(up: subprocess.Popen[bytes]) -> None:
    up.terminate()
    try:
        up.communicate(timeout=STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        up.kill()  # and with it, by the kernel, all that it started
        up.communicate()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."
