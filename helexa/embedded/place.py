"""Where the embedded servers of one home keep their data, from where their programs run, and as whom."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from helexa.embedded.account import Account
from helexa.embedded.binaries import Binaries
from helexa.home import Home, StartError, explained

#: Taken when we are root and the servers' user cannot reach HELEXA_HOME, say below /root.
ELSEWHERE = Path("/var/lib/helexa")


@dataclass(frozen=True)
class Place:
    """`account` is None where the servers run as ourselves; `note` tells the operator where data lies elsewhere."""

    folder: Path
    account: Account | None
    binaries: Binaries
    note: str | None = None

    @classmethod
    def of(cls, home: Home) -> Place:
        """Find or make the place. Modes and owners of folders that we did not make stay as they are."""
        home.make()
        binaries = Binaries.installed()
        with explained(home.servers):
            if os.geteuid() != 0:
                home.servers.mkdir(exist_ok=True)
                return cls(home.servers.resolve(), None, binaries)
            account = _account(home.servers)
            folder = _folder_for(account, home)
        if not all(account.can_run(program) for program in (binaries.postgres, binaries.initdb, binaries.valkey)):
            binaries = binaries.copied_to(folder)
        note = None
        if home.servers.is_symlink():
            note = f"The user {account.name} cannot reach {home.path}, so the servers' data is in {folder}."
        return cls(folder, account, binaries, note)

    def folder_for(self, server: str) -> Path:
        """The private folder of one server, owned by whom it runs as."""
        folder = self.folder / server
        with explained(folder):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                if self.account is not None:
                    self.account.take(folder)
        uid = os.geteuid() if self.account is None else self.account.uid
        if folder.stat().st_uid != uid:
            raise StartError(
                f"{folder} belongs to another user: run as the user who made it, "
                "or set HELEXA_HOME to a folder of your own."
            )
        return folder


def _account(servers: Path) -> Account:
    """Who owns the data that is there, say a plain user who started helexa before root did; else who exists."""
    for data in sorted(servers.glob("*/")) if servers.exists() else []:
        if data.stat().st_uid != 0:
            return Account.owning(data)
    return Account.unprivileged()


def _folder_for(account: Account, home: Home) -> Path:
    if home.servers.exists():
        folder = home.servers.resolve()
        if not account.can_enter(folder):
            raise StartError(
                f"The user {account.name}, who runs the servers, cannot enter {folder} any more: "
                "allow it to pass through the folders above, or set HELEXA_HOME to another folder."
            )
        return folder
    if not home.servers.is_symlink():
        _make_open(home.servers)
        if account.can_enter(home.servers):
            return home.servers
        home.servers.rmdir()
    elsewhere = ELSEWHERE / hashlib.sha256(os.fsencode(home.path)).hexdigest()[:16]
    _make_open(ELSEWHERE)
    _make_open(elsewhere)
    home.servers.unlink(missing_ok=True)  # a link whose target was removed
    home.servers.symlink_to(elsewhere)
    return elsewhere


def _make_open(folder: Path) -> None:
    """Make a folder that others can pass through, whatever the umask; one that exists is left alone."""
    if not folder.exists():
        folder.mkdir()
        folder.chmod(0o755)
