"""As whom the servers run, where their data lies, and what is left alone."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from helexa.embedded import place as place_module
from helexa.embedded.account import Account
from helexa.embedded.binaries import Binaries
from helexa.embedded.place import Place
from helexa.embedded.postgres import Postgres
from helexa.embedded.valkey import Valkey
from helexa.home import Home
from tests.embedded.conftest import RunAs
from tests.servers import RunningServer

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another user")

START_BOTH = """
home = Home.from_environment()
try:
    place = Place.of(home)
    for server in (Postgres(home, place), Valkey(home, place)):
        running = RunningServer(server, home.logs / server.name)
        print("ran", server.name)
        running.stop()
except StartError as error:
    print(error)
"""


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place for homes that cannot be reached, moved below the test's folder."""
    monkeypatch.setattr(place_module, "ELSEWHERE", folder / "elsewhere")
    yield folder / "elsewhere"
    shutil.rmtree(folder / "elsewhere", ignore_errors=True)


@as_root
def test_as_root_both_run_as_a_user_who_may_do_nothing_else(home: Home, running: Callable[..., RunningServer]) -> None:
    uid = Account.unprivileged().uid
    for kind in (Postgres, Valkey):
        process = psutil.Process(running(kind, home).process.pid)
        assert (set(process.uids()), set(process.gids())) == ({uid}, {Account.unprivileged().gid})
        assert uid != 0


@as_root
def test_a_home_below_a_closed_folder_keeps_its_data_elsewhere(
    folder: Path, elsewhere: Path, running: Callable[..., RunningServer]
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    home = Home(closed / "home")
    note = Place.of(home).note
    assert note is not None
    assert str(elsewhere) in note
    running(Postgres, home)
    running(Valkey, home)
    assert home.servers.resolve().parent == elsewhere
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert Place.of(home).folder == home.servers.resolve()


@as_root
def test_programs_that_the_user_cannot_reach_are_copied(home: Home, folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    hidden = Binaries.installed().copied_to(closed)
    account = Account.unprivileged()
    assert not account.can_run(hidden.postgres)
    home.make()
    home.servers.mkdir()
    copy = hidden.copied_to(home.servers)
    assert all(account.can_run(program) for program in (copy.postgres, copy.initdb, copy.valkey))
    assert hidden.copied_to(home.servers) == copy


@as_root
def test_data_that_a_plain_user_made_stays_his_when_root_comes(home: Home) -> None:
    home.make()
    (home.servers / "postgres").mkdir(parents=True)
    os.chown(home.servers / "postgres", 1, 1)
    account = Place.of(home).account
    assert account is not None
    assert account.uid == 1


def test_a_plain_user_needs_nothing_else(folder: Path, plain_user: pwd.struct_passwd, run_as_plain_user: RunAs) -> None:
    own = folder / "own"
    own.mkdir()
    if os.geteuid() == 0:
        shutil.chown(own, plain_user.pw_uid, plain_user.pw_gid)
    done = run_as_plain_user(START_BOTH, own / "home")
    assert (done.stdout, done.returncode) == ("ran postgres\nran redis\n", 0), done.stderr


def test_a_folder_without_write_permission_is_one_sentence(folder: Path, run_as_plain_user: RunAs) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    done = run_as_plain_user(START_BOTH, closed / "home")
    assert done.stdout.startswith(f"No permission to write in {closed / 'home'}:"), done.stderr
    assert "HELEXA_HOME" in done.stdout
    assert done.stderr == ""


def test_a_file_in_the_way_is_one_sentence(folder: Path, run_as_plain_user: RunAs) -> None:
    (folder / "file").write_text("")
    done = run_as_plain_user(START_BOTH, folder / "file" / "home")
    assert "is not a folder" in done.stdout
    assert done.stderr == ""


@as_root
def test_a_full_disk_is_one_sentence(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let a test mount a small disk")
    try:
        home = Home(disk / "home")
        with pytest.raises(place_module.StartError, match=r"The disk that holds .* is full: free some space"):
            Postgres(home, Place.of(home)).prepare()
    finally:
        subprocess.run(["umount", disk], check=True)
