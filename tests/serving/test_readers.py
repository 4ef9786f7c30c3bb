"""Clients that leave, and clients that do not read."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.serving.running import PATIENCE_S, SOON_S, Connection, Server

Serve = Callable[..., Server]
MIB = 1024 * 1024


@pytest.mark.parametrize("path", ["/hold", "/stream/1000/100/20"])
def test_the_application_learns_at_once_that_its_client_left(serve: Serve, path: str) -> None:
    server = serve()
    connection = Connection(server)
    connection.ask(path).answer()
    server.wait_for("holding" if path == "/hold" else "streaming")
    connection.close()
    left = time.monotonic()
    server.wait_for(f"disconnected {path}")
    assert time.monotonic() - left < SOON_S


def test_a_reader_that_does_not_read_costs_bounded_memory_and_is_cut_off(serve: Serve) -> None:
    server = serve(unsent_bytes=4 * MIB, unsent_timeout_s=2)
    before = server.rss_bytes
    connections = [Connection(server) for _ in range(3)]
    for connection in connections:
        connection.ask("/stream/2000/100000")  # 200 MB each
    peak = before
    began = time.monotonic()
    while sum(event.startswith("disconnected") for event in server.events()) < 3:
        assert time.monotonic() - began < PATIENCE_S
        peak = max(peak, server.rss_bytes)
        time.sleep(0.02)
    print(f"three readers that do not read 600 MB: {(peak - before) / MIB:.0f} MiB more at most")
    assert peak - before < 3 * 2 * 4 * MIB + 16 * MIB  # Twisted joins, and so copies, what it holds
    for connection in connections:
        connection.close()


def test_a_slow_reader_gets_all_of_it(serve: Serve) -> None:
    server = serve(unsent_bytes=1 * MIB, unsent_timeout_s=2)
    with Connection(server, receive_buffer_bytes=65536) as connection:
        answer = connection.ask("/stream/200/100000").answer()
        received = 0
        while piece := answer.read(1 * MIB):
            received += len(piece)
            time.sleep(0.2)  # slower than the application, far slower than the timeout in all
        assert received == 20_000_000
    server.wait_for("finished")


def test_a_large_answer_in_one_message_is_not_cut(serve: Serve) -> None:
    with Connection(serve(unsent_bytes=1 * MIB), receive_buffer_bytes=65536) as connection:
        assert len(connection.ask("/whole/20000000").answer().read()) == 20_000_000
