"""An embedded PostgreSQL: its data folder, its settings and how it is started."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from helexa.embedded.failures import explain_output
from helexa.embedded.place import Place
from helexa.embedded.ports import kept_port
from helexa.embedded.program import Program, stop_leftover
from helexa.home import Home, StartError, explained

_HOST = "127.0.0.1"
_MAJOR = "18"
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}

SETTINGS = {
    "listen_addresses": _HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    # What the ledger promises rests on these two (DESIGN 4).
    "fsync": "on",
    "synchronous_commit": "on",
    # A gateway that stops inside a transaction must not hold its locks against the others.
    "idle_in_transaction_session_timeout": "2s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


@dataclass
class Postgres:
    """One server of one home. `settings` are put over SETTINGS; only tests do that."""

    home: Home
    place: Place
    settings: Mapping[str, str] = field(default_factory=dict)

    name = "postgres"

    def __post_init__(self) -> None:
        self.folder = self.place.folder_for(self.name)
        self.password = self.home.make_secret("postgres_password")
        self._stop_leftover()  # it may hold the port
        self.port = kept_port(self.home.run / "postgres.port", [_HOST])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://helexa:{self.password}@{_HOST}:{self.port}/helexa"

    def prepare(self) -> None:
        """Leave a whole data folder that no process holds; called before every start."""
        with explained(self.folder):
            self._stop_leftover()
            if not _is_whole(self.data):
                self._initialise()
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != _MAJOR:
            raise StartError(
                f"{self.data} was made by PostgreSQL {made_by}, this is {_MAJOR}: dump it with the old version and "
                "restore it into a new HELEXA_HOME."
            )

    def program(self) -> Program:
        settings = {**SETTINGS, "port": str(self.port), **self.settings}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # SIGINT is PostgreSQL's fast shutdown: it ends the connections and writes everything down.
        return self._program(self.place.binaries.postgres, "-D", str(self.data), *options, signal=signal.SIGINT)

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error):
                raise StartError(
                    f"The database does not accept the password in {self.home.secrets}: put the former one back, "
                    f"or remove {self.folder} to begin with an empty database."
                ) from error
            return False
        return True

    def explain(self, output: str) -> str:
        return explain_output("PostgreSQL", output, folder=self.folder, port=self.port, variable="DATABASE_URL")

    def _stop_leftover(self) -> None:
        stop_leftover(self.data / "postmaster.pid", str(self.data), stop_signal=signal.SIGINT)

    def _initialise(self) -> None:
        """Make the data folder beside its place and move it there whole: an end in the middle leaves no half."""
        if self.data.exists():
            # Not ours to delete: it may be what a broken disk left of a database.
            self.data.rename(self.folder / f"data.incomplete-{int(time.time())}")
        for left in self.folder.glob("new-*"):
            shutil.rmtree(left, ignore_errors=True)  # a killed initdb may be cleaning up there itself
        new = self.folder / f"new-{secrets.token_hex(4)}"
        password_file = self.folder / "superuser.password"
        self._write(password_file, self.home.make_secret("postgres_superuser_password"))
        try:
            self._run(
                self.place.binaries.initdb,
                *("-D", str(new), "-U", "postgres", f"--pwfile={password_file}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
            )
        finally:
            password_file.unlink(missing_ok=True)
        # In single-user mode nobody can connect yet, so role and database exist before the first start.
        self._run(
            self.place.binaries.postgres,
            *("--single", "-D", str(new), "-c", "exit_on_error=true", "postgres"),
            stdin=(
                f"CREATE ROLE helexa LOGIN CREATEDB PASSWORD '{self.password}'\nCREATE DATABASE helexa OWNER helexa\n"
            ),
        )
        new.rename(self.data)

    def _program(self, binary: Path, *arguments: str, signal: signal.Signals, stdin: str = "") -> Program:
        return Program(
            [str(binary), *arguments],
            _ENVIRONMENT,
            stop_signal=signal,
            orphan_signal=signal,
            account=self.place.account,
            stdin=stdin.encode(),
        )

    def _run(self, binary: Path, *arguments: str, stdin: str = "") -> None:
        done = self._program(binary, *arguments, signal=signal.SIGTERM, stdin=stdin).run()
        if done.returncode != 0:
            raise StartError(self.explain(done.stdout.decode(errors="replace")))

    def _write(self, path: Path, text: str) -> None:
        """A file for the server's user in its folder; as root, so it must be new and no link."""
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        if self.place.account is not None:
            self.place.account.take(path)


def _is_whole(data: Path) -> bool:
    return (data / "PG_VERSION").exists() and (data / "global" / "pg_control").exists()
