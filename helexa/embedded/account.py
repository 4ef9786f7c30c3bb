"""The unprivileged user that runs the servers when we are root: PostgreSQL refuses root, Valkey does not need it."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from helexa.home import StartError

#: Users that distributions ship and that own nothing; the first one that exists is taken, none is ever added.
_CANDIDATES = ("nobody", "postgres", "daemon")


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> Account:
        for name in _CANDIDATES:
            try:
                return cls._of(pwd.getpwnam(name))
            except KeyError:
                continue
        raise StartError(
            "PostgreSQL does not run as root and there is no user `nobody` here: "
            "run helexa as a plain user, or set DATABASE_URL and REDIS_URL to running servers."
        )

    @classmethod
    def owning(cls, path: Path) -> Account:
        """The owner of data that is there already."""
        return cls._of(pwd.getpwuid(path.stat().st_uid))

    @classmethod
    def _of(cls, entry: pwd.struct_passwd) -> Account:
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def take(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Ask the kernel rather than read modes: access lists and mounts count as well."""
        return self._succeeds(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)])

    def can_run(self, program: Path) -> bool:
        return self._succeeds([str(program), "--version"])

    def _succeeds(self, argv: list[str]) -> bool:
        try:
            done = subprocess.run(
                argv, check=False, capture_output=True, cwd="/", user=self.uid, group=self.gid, extra_groups=[]
            )
        except PermissionError:
            return False
        return done.returncode == 0
