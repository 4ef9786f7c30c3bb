"""What one `up` is asked to run, checked before anything starts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from helexa.home import StartError

SERVERS = ("daphne", "uvicorn")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+\Z")


@dataclass(frozen=True)
class Plan:
    """`database_url` and `redis_url` are None where the embedded server is wanted; so is `model` for the demo model."""

    host: str
    port: int
    gateways: int
    workers: int
    server: str
    restart: bool
    listen: str | None
    metrics_listen: str | None
    database_url: str | None
    redis_url: str | None
    model: str | None
    echo: bool

    @property
    def neurons(self) -> list[str]:
        return neuron_names(self.workers)

    @property
    def url(self) -> str:
        """Where a person on this machine opens it, also when it listens everywhere."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def check(self, *, allow_echo: bool) -> None:
        """Raise StartError for what cannot work."""
        if self.gateways < 1 or self.workers < 1:
            raise StartError("--gateways and --workers must be 1 or more.")
        if not 0 < self.port < 65536:
            raise StartError(f"HELEXA_PORT is {self.port}: give a port between 1 and 65535.")
        if self.server == "uvicorn" and find_spec("uvicorn") is None:
            raise StartError("uvicorn is not installed: install the extra `fast`, or leave out --server uvicorn.")
        if self.echo and not allow_echo:
            raise StartError("HELEXA_HARNESS=echo answers without a model: set HELEXA_ALLOW_ECHO=1 for a load test.")
        if self.listen is not None:
            self._check_listen(self.listen)
        if self.model is not None and not self.echo:
            self._check_model(self.model)

    def _check_listen(self, listen: str) -> None:
        try:
            ipaddress.ip_address(listen)
        except ValueError as error:
            raise StartError(f"--listen takes an IP address of this machine, not {listen!r}.") from error
        if self.redis_url is not None:
            raise StartError(
                "--listen opens the embedded Redis, and REDIS_URL names another one: leave one of them out."
            )

    def _check_model(self, model: str) -> None:
        path = Path(model)
        if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
            return
        if path.is_absolute() or path.suffix == ".gguf" or not _HUB_ID.match(model):
            raise StartError(
                f"HELEXA_MODEL is {model!r}: give a hub id (owner/name), a folder with a model, or a .gguf file."
            )


def neuron_names(workers: int) -> list[str]:
    return ["local", *(f"local-{number}" for number in range(2, workers + 1))]
