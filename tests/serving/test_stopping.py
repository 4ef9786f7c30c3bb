"""The start of a process, and from the first signal to its end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest

from tests.serving.running import SOON_S, Connection, Server

Serve = Callable[..., Server]


def test_running_streams_finish_while_new_requests_are_refused_by_the_application(serve: Serve) -> None:
    server = serve()
    with Connection(server) as running, Connection(server) as idle:
        idle.ask("/before").answer().read()
        answer = running.ask("/stream/60/10/100").answer()
        server.wait_for("streaming")
        server.terminate()
        server.wait_for("draining")
        with Connection(server) as fresh:
            refused = fresh.ask("/new").answer()
            assert (refused.status, refused.read()) == (503, b"draining")
        assert idle.ask("/new").answer().status == 503
        assert len(answer.read()) == 600
        server.wait_for("lifespan.shutdown")
        assert server.exit_code() == 0
    assert server.log == []


def test_idle_connections_do_not_delay_the_end(serve: Serve) -> None:
    server = serve()
    with Connection(server) as used, Connection(server):
        used.ask().answer().read()
        server.terminate()
        began = time.monotonic()
        assert server.exit_code() == 0
        assert time.monotonic() - began < SOON_S
        assert used.rest() == b""


def test_an_answer_that_is_still_leaving_is_not_cut(serve: Serve) -> None:
    server = serve()
    with Connection(server, receive_buffer_bytes=65536) as connection:
        answer = connection.ask("/whole/8000000").answer()  # the application is done, most of it is not sent
        server.terminate()
        server.wait_for("draining")
        assert len(answer.read()) == 8_000_000
        assert server.exit_code() == 0


def test_a_second_signal_does_not_wait(serve: Serve) -> None:
    server = serve()
    with Connection(server) as connection:
        connection.ask("/hold").answer()
        server.wait_for("holding")
        server.terminate()
        server.wait_for("draining")
        began = time.monotonic()
        server.terminate()
        server.wait_for("cancelled /hold")
        server.wait_for("lifespan.shutdown")
        assert server.exit_code() == 0
        assert time.monotonic() - began < SOON_S


def test_work_that_does_not_end_is_cut_off_after_the_drain(serve: Serve) -> None:
    server = serve(drain_s=1)
    with Connection(server) as connection:
        connection.ask("/hold").answer()
        server.wait_for("holding")
        server.terminate()
        server.wait_for("lifespan.shutdown")
        assert server.exit_code() == 0
    assert any("cut off" in line for line in server.log)


def test_two_processes_share_an_inherited_socket(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as shared:
        shared.set_inheritable(True)
        port = shared.getsockname()[1]
        servers = [serve(fd=shared.fileno()) for _ in range(2)]
        answers = []
        for _ in range(20):
            with Connection(port) as connection:
                answers.append(json.load(connection.ask("/shared").answer())["path"])
        assert answers == ["/shared"] * 20
        servers[0].terminate()
        assert servers[0].exit_code() == 0
        for _ in range(20):  # the other one goes on with the same socket
            with Connection(port) as connection:
                assert connection.ask("/shared").answer().status == 200
        with Connection(servers[1]) as own:
            assert own.ask("/own").answer().status == 200


@pytest.mark.parametrize("signals", [1, 2])
def test_a_process_without_connections_ends_at_once(serve: Serve, signals: int) -> None:
    server = serve()
    for _ in range(signals):
        server.terminate()
    assert server.exit_code() == 0


def test_an_application_that_cannot_start_ends_the_process_with_its_reason(serve: Serve) -> None:
    for startup, reason in (("fails", "no start on purpose"), ("is refused", "not today")):
        server = serve(startup=startup)
        assert server.exit_code() == 1
        assert any(reason in line for line in server.log)


def test_a_start_that_hangs_can_be_stopped(serve: Serve) -> None:
    server = serve(startup="hangs")
    server.wait_for("lifespan.startup")
    server.terminate()
    assert server.exit_code() == 0
