"""An embedded Redis, which is Valkey: its folder, its settings and how it is started."""

from __future__ import annotations

import ipaddress
import signal

import redis

from helexa.embedded.failures import explain_output
from helexa.embedded.place import Place
from helexa.embedded.ports import kept_port
from helexa.embedded.program import Program, stop_leftover
from helexa.home import Home, explained

_HOST = "127.0.0.1"
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


class Valkey:
    """One server of one home. With `listen` other hosts reach it there as well, with the same password."""

    name = "redis"

    def __init__(self, home: Home, place: Place, *, listen: str | None = None) -> None:
        self.home = home
        self.place = place
        self.addresses = _addresses(listen)
        self.folder = place.folder_for(self.name)
        self.password = home.make_secret("redis_password")
        self.prepare()  # a leftover may hold the port
        self.port = kept_port(home.run / "redis.port", self.addresses)

    @property
    def url(self) -> str:
        return self.url_at(_HOST)

    def url_at(self, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"redis://:{self.password}@{host}:{self.port}/0"

    def prepare(self) -> None:
        """End what still works on our data; called before every start."""
        with explained(self.folder):
            stop_leftover(self.folder / "valkey.pid", str(self.folder), stop_signal=signal.SIGTERM)

    def program(self) -> Program:
        options = {
            "port": str(self.port),
            "databases": "64",
            # Streams and queues are state, not a cache: written down every second, never evicted.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "loglevel": "warning",
            "maxmemory-policy": "noeviction",
            "pidfile": str(self.folder / "valkey.pid"),
            # The command line stays as it is, so that a leftover of ours can be recognised by its folder.
            "set-proc-title": "no",
            "dir": str(self.folder),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return Program(
            [str(self.place.binaries.valkey), *arguments, "--bind", *self.addresses, "-"],
            _ENVIRONMENT,
            stop_signal=signal.SIGTERM,
            orphan_signal=signal.SIGTERM,
            account=self.place.account,
            stdin=f"requirepass {self.password}\n".encode(),
        )

    def is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # also while it reads its data back
            return False

    def explain(self, output: str) -> str:
        return explain_output("Redis", output, folder=self.folder, port=self.port, variable="REDIS_URL")


def _addresses(listen: str | None) -> list[str]:
    if listen is None or ipaddress.ip_address(listen) == ipaddress.ip_address(_HOST):
        return [_HOST]
    if ipaddress.ip_address(listen) == ipaddress.ip_address("0.0.0.0"):  # noqa: S104 - the operator asked for it
        return [listen]  # it includes loopback, which could not be bound a second time
    return [_HOST, listen]
