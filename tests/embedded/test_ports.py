"""Addresses of the embedded servers: kept while free, and a sentence where they are not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from helexa.embedded.place import Place
from helexa.embedded.ports import is_free, kept_port
from helexa.embedded.postgres import Postgres
from helexa.embedded.valkey import Valkey
from helexa.home import Home, StartError
from tests.servers import RunningServer

LOOPBACK = ["127.0.0.1"]


@pytest.fixture
def squatter() -> Iterator[Callable[[int], None]]:
    taken: list[socket.socket] = []

    def take(port: int) -> None:
        taken.append(socket.create_server(("127.0.0.1", port)))

    yield take
    for listener in taken:
        listener.close()


def test_a_port_is_kept_while_it_is_free(tmp_path: Path, squatter: Callable[[int], None]) -> None:
    port = kept_port(tmp_path / "port", LOOPBACK)
    assert kept_port(tmp_path / "port", LOOPBACK) == port
    squatter(port)
    assert not is_free(port, LOOPBACK)
    other = kept_port(tmp_path / "port", LOOPBACK)
    assert other != port
    assert kept_port(tmp_path / "port", LOOPBACK) == other


def test_an_address_of_another_machine_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot listen on the address 192\.0\.2\.1"):
        kept_port(tmp_path / "port", ["192.0.2.1"])


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_a_port_taken_at_the_last_moment_is_one_sentence(
    home: Home, kind: type, squatter: Callable[[int], None]
) -> None:
    server = kind(home, Place.of(home))
    squatter(server.port)
    with pytest.raises(StartError, match=rf"Port {server.port}, .* is taken: stop what listens there"):
        RunningServer(server, home.logs / "log")


def test_redis_listens_where_it_is_told_with_the_same_password(home: Home) -> None:
    server = Valkey(home, Place.of(home), listen="127.0.0.2")
    running = RunningServer(server, home.logs / "log")
    try:
        for address in ("127.0.0.1", "127.0.0.2"):
            assert redis.Redis.from_url(server.url_at(address)).ping()
    finally:
        running.stop()
