"""A home of the test's own for embedded servers, and a plain user where the tests run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helexa.embedded.account import Account
from helexa.embedded.binaries import Binaries
from helexa.embedded.place import Place
from helexa.home import REPOSITORY, Home
from tests.servers import TEST_SETTINGS, RunningServer, new_home_folder

RunAs = Callable[[str, Path], subprocess.CompletedProcess[str]]

# An interpreter below /root could not be started by another user, but it can become one.
IMPORTS = """
import encodings.idna, os, sys
from helexa.embedded.place import Place
from helexa.embedded.postgres import Postgres
from helexa.embedded.valkey import Valkey
from helexa.home import Home, StartError
from tests.servers import RunningServer
"""
CHANGE_USER = """
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = new_home_folder()
    yield folder
    with suppress(OSError):
        shutil.rmtree((folder / "home" / "servers").resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(folder: Path) -> Home:
    return Home(folder / "home")


@pytest.fixture
def running() -> Iterator[Callable[..., RunningServer]]:
    """Start servers of a home; whatever the test leaves running is stopped."""
    started: list[RunningServer] = []

    def start(kind: type, home: Home, *, is_durable: bool = False) -> RunningServer:
        place = Place.of(home)
        arguments = {} if is_durable or kind.__name__ == "Valkey" else {"settings": TEST_SETTINGS}
        server = kind(home, place, **arguments)
        started.append(RunningServer(server, home.logs / f"{server.name}.log"))
        return started[-1]

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture
def plain_user() -> pwd.struct_passwd:
    """Who the tests run as, or `nobody` where that is root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    if not Account.unprivileged().can_run(Binaries.installed().postgres):
        pytest.skip("a plain user cannot reach this virtual environment: run the tests as one to see this test")
    return pwd.getpwuid(Account.unprivileged().uid)


@pytest.fixture
def run_as_plain_user(plain_user: pwd.struct_passwd) -> RunAs:
    """Run Python text with a home as the plain user; `IMPORTS` come before the change of user."""

    def run(text: str, home: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", IMPORTS + (CHANGE_USER if os.geteuid() == 0 else "") + text, str(plain_user.pw_uid)],
            check=False,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HELEXA_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
