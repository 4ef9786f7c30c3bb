"""What the server answers itself: in the application's form, with its request id, never as HTML."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from http.client import HTTPResponse, IncompleteRead, RemoteDisconnected

import pytest

from tests.serving.running import SOON_S, Connection, Server

Serve = Callable[..., Server]


def assert_refused(answer: HTTPResponse, status: int, path: str | None = None) -> None:
    body = json.load(answer)
    assert answer.status == body["status"] == status
    assert answer.headers["x-request-id"] == "ours"
    assert answer.headers["connection"] == "close"
    assert path is None or body["path"] == path


def test_a_body_over_the_limit_is_refused_before_it_is_sent(serve: Serve) -> None:
    server = serve(body_bytes=1000)
    with Connection(server) as connection:
        connection.ask("/v1/chat?x=1", "content-length: 1001", "expect: 100-continue", method="POST")
        assert_refused(connection.answer(), 413, "/v1/chat")
        assert connection.rest() == b""
    assert server.events() == ["lifespan.startup"]


def test_a_client_that_sends_all_of_it_still_reads_the_refusal(serve: Serve) -> None:
    with Connection(serve(body_bytes=1000)) as connection:
        connection.ask("/", method="POST", body=b"x" * 5_000_000)
        assert_refused(connection.answer(), 413)


def test_a_chunked_body_is_refused_when_it_has_grown_too_long(serve: Serve) -> None:
    server = serve(body_bytes=1000)
    with Connection(server) as connection:
        connection.ask("/grow", "transfer-encoding: chunked", method="POST")
        connection.send(b"1f4\r\n" + b"x" * 500 + b"\r\n")
        connection.send(b"1f4\r\n" + b"x" * 500 + b"\r\n")
        connection.send(b"1\r\nx\r\n1\r\nx\r\n0\r\n\r\n")
        assert_refused(connection.answer(), 413, "/grow")
    assert "asked /grow" not in server.events()


def test_headers_that_trickle_in_do_not_win_time(serve: Serve) -> None:
    with Connection(serve(header_timeout_s=1)) as connection:
        began = time.monotonic()
        connection.send(b"GET /v1/models HTTP/1.1\r\n")
        connection.socket.settimeout(0.2)
        answer = b""
        while not answer:  # until it is refused, another header each 0.2 s
            connection.send(b"x-more: 1\r\n")
            try:
                answer = connection.socket.recv(1000)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"x-request-id: ours" in answer
        assert time.monotonic() - began < SOON_S


def test_a_connection_that_says_nothing_is_closed_without_a_word(serve: Serve) -> None:
    with Connection(serve(header_timeout_s=1)) as connection:
        assert connection.rest() == b""


def test_a_body_that_stands_still_is_given_up(serve: Serve) -> None:
    server = serve(body_timeout_s=1)
    with Connection(server) as connection:
        connection.ask("/upload", "content-length: 100", method="POST").send(b"some")
        assert_refused(connection.answer(), 408, "/upload")


def test_a_slow_body_that_moves_is_not_given_up(serve: Serve) -> None:
    with Connection(serve(body_timeout_s=4)) as connection:
        connection.ask("/", "content-length: 4", method="POST")
        for _ in range(4):
            time.sleep(1.1)  # longer in all
            connection.send(b"x")
        assert json.load(connection.answer())["body_bytes"] == 4


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/models HTTP/3.7\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nbad name: 1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /v1/" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_a_400_in_our_form(serve: Serve, request_bytes: bytes) -> None:
    with Connection(serve()) as connection:
        assert_refused(connection.send(request_bytes).answer(), 400)
        assert connection.rest() == b""


def test_a_failing_application_is_a_500_in_our_form(serve: Serve) -> None:
    server = serve()
    for path in ("/fail", "/silent"):
        with Connection(server) as connection:
            assert_refused(connection.ask(path).answer(), 500, path)
    server.terminate()
    server.exit_code()
    assert any("a failure on purpose" in line for line in server.log)


def test_an_application_that_fails_in_its_answer_leaves_a_cut_one(serve: Serve) -> None:
    with Connection(serve()) as connection:
        answer = connection.ask("/fail-late").answer()
        with pytest.raises((IncompleteRead, ConnectionResetError, RemoteDisconnected)):
            answer.read()


def test_a_port_scan_leaves_no_trace_in_the_log(serve: Serve) -> None:
    server = serve()
    for request in (b"", b"GET", b"\x00\x01\r\n\r\n"):
        with Connection(server) as connection:
            connection.send(request)
            connection.socket.shutdown(socket.SHUT_WR)
            connection.rest()
    server.terminate()
    assert server.exit_code() == 0
    assert server.log == []
