"""Ordinary HTTP/1.1, the same under both servers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.serving.running import Connection, Server

Serve = Callable[..., Server]


def test_a_request_reaches_the_application_as_it_was_sent(serve: Serve) -> None:
    server = serve()
    with Connection(server) as connection:
        answer = connection.ask("/a%20b/c?d=e%20f", "X-One: 1", method="POST", body=b"hello").answer()
        asked = json.load(answer)
        assert answer.status == 200
        assert answer.headers["date"]
        assert answer.headers["server"] is None
        assert asked["method"] == "POST"
        assert asked["path"] == "/a b/c"
        assert asked["query_string"] == "d=e%20f"
        assert asked["http_version"] == "1.1"
        assert asked["scheme"] == "http"
        assert asked["client"] == list(connection.socket.getsockname())
        assert asked["server"] == ["127.0.0.1", server.port]
        assert ["x-one", "1"] in asked["headers"]
        assert asked["body_bytes"] == 5


def test_bodies_of_every_framing_arrive_whole(serve: Serve) -> None:
    server = serve()
    with Connection(server) as connection:
        assert json.load(connection.ask().answer())["body_bytes"] == 0
        large = b"x" * 3_000_000
        assert json.load(connection.ask(method="POST", body=large).answer())["body_bytes"] == len(large)
        connection.ask("/", "transfer-encoding: chunked", method="POST")
        connection.send(b"5\r\nhello\r\n").send(b"6;note=1\r\n world\r\n0\r\n\r\n")
        assert json.load(connection.answer())["body_bytes"] == 11


def test_one_connection_serves_many_requests_in_order(serve: Serve) -> None:
    with Connection(serve()) as connection:
        for path in ("/one", "/two"):
            assert json.load(connection.ask(path).answer())["path"] == path
        for path in ("/stream/3/10/20", "/three", "/four"):  # pipelined
            connection.ask(path)
        assert connection.answer().read() == b"x" * 30
        assert [json.load(connection.answer())["path"] for _ in range(2)] == ["/three", "/four"]


def test_a_status_has_its_own_words(serve: Serve) -> None:
    """Twisted knows none of those that came after 1999."""
    with Connection(serve()) as connection:
        for status, words in ((404, "Not Found"), (422, "Unprocessable"), (429, "Too Many Requests")):
            answer = connection.ask(f"/status/{status}").answer()
            assert (answer.status, answer.reason.split(" Entity")[0]) == (status, words)


def test_a_stream_is_chunked_and_its_headers_leave_before_its_body(serve: Serve) -> None:
    with Connection(serve()) as connection:
        answer = connection.ask("/hold").answer()
        assert answer.status == 200
        assert answer.headers["transfer-encoding"] == "chunked"


def test_head_has_the_headers_and_no_body(serve: Serve) -> None:
    with Connection(serve()) as connection:
        for path in ("/whole/5", "/stream/3/10"):
            answer = connection.ask(path, method="HEAD").answer(method="HEAD")
            assert answer.status == 200
        assert json.load(connection.ask("/next").answer())["path"] == "/next"  # nothing was left between them


@pytest.mark.parametrize("serve", ["daphne"], indirect=True)
def test_http_1_0_is_answered_without_chunks_and_closed(serve: Serve) -> None:
    with Connection(serve()) as connection:
        head, _, body = connection.send(b"GET /stream/3/10 HTTP/1.0\r\n\r\n").rest().partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert body == b"x" * 30


def test_connection_close_is_honoured(serve: Serve) -> None:
    with Connection(serve()) as connection:
        connection.ask("/stream/2/10", "connection: close")
        assert connection.answer().read() == b"x" * 20
        assert connection.rest() == b""


def test_an_upgrade_to_websocket_is_an_ordinary_request(serve: Serve) -> None:
    with Connection(serve()) as connection:
        upgrade = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: eA==")
        answer = connection.ask("/page", *upgrade).answer()
        assert answer.status == 200
        assert json.load(answer)["path"] == "/page"


def test_a_client_that_expects_it_is_told_to_go_on(serve: Serve) -> None:
    with Connection(serve()) as connection:
        connection.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert connection.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"hello")
        assert json.load(connection.answer())["body_bytes"] == 5


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_dash() -> None:
    server = Server("daphne")
    try:
        with Connection(server) as connection:
            headers = json.load(connection.ask("/", "x_real_ip: 1").answer())["headers"]
            assert all("real" not in name for name, _ in headers)
    finally:
        server.kill()


def test_an_idle_connection_is_closed_after_a_while(serve: Serve) -> None:
    with Connection(serve(keep_alive_s=1)) as connection:
        connection.ask().answer().read()
        assert connection.rest() == b""
