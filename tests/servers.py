"""pytest plugin: one PostgreSQL and one Redis for the whole run, real ones, from `helexa.embedded`.

The controlling process starts them before pytest-django reads the settings, and exports their addresses; the workers of
pytest-xdist inherit those and start nothing. A DATABASE_URL or REDIS_URL in the environment is used instead.

Redis database numbers: worker gwN has N + 1, a run without workers 1. 0 and 16 to 63 are for stacks that tests start.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from helexa.embedded.place import Place
from helexa.embedded.postgres import Postgres
from helexa.embedded.valkey import Valkey
from helexa.home import Home, StartError

#: Test databases are thrown away. And a test may sit in its transaction for longer than a gateway may.
TEST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "idle_in_transaction_session_timeout": "0",
}
START_LIMIT_S = 60

_running: list[RunningServer] = []


class RunningServer:
    """An embedded server that is up, and the file that takes its output."""

    def __init__(self, server: Postgres | Valkey, log: Path) -> None:
        self.server = server
        server.prepare()
        with log.open("ab") as output:
            self.process = server.program().start(stdout=output, stderr=subprocess.STDOUT)
        end = time.monotonic() + START_LIMIT_S
        while not server.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise StartError(server.explain(log.read_text(errors="replace")))
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.server.program().stop_signal)
        self.process.wait(START_LIMIT_S)


def new_home_folder(prefix: str = "helexa-tests-") -> Path:
    """A temporary folder that the servers' user can pass through also when we are root."""
    folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    folder.chmod(0o711)
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(args: list[str]) -> None:
    if {"--help", "-h", "--version", "-V"} & set(args):
        return
    # Who was started by a shell in the background is deaf to it, and so would be all that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        _start_servers()
    number = int(worker.removeprefix("gw")) + 1 if worker else 1
    os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].rsplit('/', 1)[0]}/{number}"


def _start_servers() -> None:
    home = Home(new_home_folder())
    atexit.register(shutil.rmtree, home.path, ignore_errors=True)
    os.environ["HELEXA_HOME"] = str(home.path)
    os.environ.setdefault("HELEXA_SECRET_KEY", secrets.token_urlsafe(32))
    os.environ.setdefault("HELEXA_KEY_PEPPER", secrets.token_urlsafe(32))
    wanted = {"DATABASE_URL", "REDIS_URL"} - os.environ.keys()
    if not wanted:
        return
    place = Place.of(home)
    atexit.register(shutil.rmtree, place.folder, ignore_errors=True)
    atexit.register(_stop_servers)
    if "DATABASE_URL" in wanted:
        os.environ["DATABASE_URL"] = _start(Postgres(home, place, settings=TEST_SETTINGS))
    if "REDIS_URL" in wanted:
        os.environ["REDIS_URL"] = _start(Valkey(home, place))


def _start(server: Postgres | Valkey) -> str:
    _running.append(RunningServer(server, server.home.logs / f"{server.name}.log"))
    return server.url


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    _stop_servers()


def _stop_servers() -> None:
    while _running:
        _running.pop().stop()
