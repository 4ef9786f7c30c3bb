"""Where helexa keeps its state: `HELEXA_HOME` and what lies in it. No Django here: the settings read it too."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


class StartError(Exception):
    """Why helexa cannot start here: one sentence that says what to do."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses about `path` into a StartError."""
    try:
        yield
    except OSError as error:
        raise StartError(explain(error, path)) from error


def explain(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return (
                f"The disk that holds {path} is full: free some space there (a first start needs about 1 GB), "
                "or set HELEXA_HOME to a folder on another disk."
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return (
                f"No permission to write in {path}: run as the user it belongs to, "
                "or set HELEXA_HOME to a folder of your own."
            )
        case errno.ENOTDIR | errno.EEXIST:
            return f"{path} is not a folder: remove that file, or set HELEXA_HOME to a folder of your own."
        case _:
            return f"{path} cannot be used ({error.strerror}): set HELEXA_HOME to another folder."


@dataclass(frozen=True)
class ServerUrls:
    """The addresses of PostgreSQL and Redis that every process of this installation uses."""

    database: str
    redis: str


@dataclass(frozen=True)
class Home:
    """The folder of one installation. A relative `HELEXA_HOME` is relative to the repository."""

    path: Path

    @classmethod
    def from_environment(cls) -> Home:
        return cls((REPOSITORY / os.environ.get("HELEXA_HOME", "var")).resolve())

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def models(self) -> Path:
        """Converted weights and the assembled demo model."""
        return self.path / "models"

    @property
    def servers(self) -> Path:
        """Data of the embedded servers; as root it may be a link to a folder that their user can reach."""
        return self.path / "servers"

    @property
    def run(self) -> Path:
        """What is true only while `up` runs: addresses, lock, metrics of its processes."""
        return self.path / "run"

    @property
    def metrics(self) -> Path:
        return self.run / "metrics"

    def make(self) -> None:
        """Make the folder and the private ones in it; folders that exist keep their mode."""
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for private in (self.secrets, self.logs, self.run):
                private.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one `up`: two would stop each other's servers. The kernel lets go with the process."""
        with explained(self.run), (self.run / "up.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise StartError(
                    f"{self.path} is already used by a running `up` (process {file.read().strip() or 'unknown'}): "
                    "stop that one, or set HELEXA_HOME and HELEXA_PORT for a second one."
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def secret(self, name: str) -> str | None:
        """The kept secret of that name, or None where none was made yet or where it is another user's."""
        try:
            return (self.secrets / name).read_text().strip() or None
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None

    def make_secret(self, name: str, *, length_bytes: int = 32, prefix: str = "") -> str:
        """The kept secret of that name, generated on first use into a 0600 file of a 0700 folder."""
        if kept := self.secret(name):
            return kept
        value = prefix + secrets.token_urlsafe(length_bytes)
        with explained(self.secrets):
            self.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(self.secrets / name, value)
        return value

    @property
    def _servers_file(self) -> Path:
        return self.run / "servers.json"

    def server_urls(self) -> ServerUrls | None:
        """The servers that `up` last used here, so that commands work beside it."""
        try:
            return ServerUrls(**json.loads(self._servers_file.read_text()))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None

    def publish_server_urls(self, urls: ServerUrls) -> None:
        with explained(self.run):
            self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(self._servers_file, json.dumps({"database": urls.database, "redis": urls.redis}))


def _write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by nobody else."""
    half_made = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    half_made.replace(path)
