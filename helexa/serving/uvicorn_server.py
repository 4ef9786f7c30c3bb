"""uvicorn as helexa runs it: uvloop and httptools under the same limits as Daphne."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from math import inf
from time import monotonic
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from helexa.serving.errors import RenderError, error_response
from helexa.serving.lifespan import Application
from helexa.serving.limits import FLUSH_S, LINGER_S, LOOK_AT_DEADLINES_EVERY_S, Limits, Phase


class _Refused(Exception):  # noqa: N818 - a way out of the parser, not an error
    """Ends the parser's work on a request that has been answered."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with deadlines, which the server looks at twice a second, and no WebSocket."""

    def __init__(self, *args: Any, limits: Limits, render_error: RenderError, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits, self.render_error = limits, render_error
        self.phase = Phase.IDLE
        self.deadline = monotonic() + limits.header_timeout_s
        self.url = b""
        self._received_bytes = 0  # of the headers, then of the body
        self._reader_check: asyncio.TimerHandle | None = None
        self._unsent_bytes_before = 0

    # -- arriving --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=self.limits.unsent_bytes)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.CLOSING:
            return
        if self.phase is Phase.IDLE:
            self.phase, self.url, self._received_bytes = Phase.HEADERS, b"", 0
            self.deadline = min(self.deadline, monotonic() + self.limits.header_timeout_s)
        super().data_received(data)
        if self.phase is Phase.HEADERS:
            self._received_bytes += len(data)
            if self._received_bytes > self.limits.header_bytes:
                self.refuse(400)

    def on_headers_complete(self) -> None:
        header_bytes, body_bytes = len(self.url), 0
        for name, value in self.headers:
            header_bytes += len(name) + len(value)
            if name == b"content-length":
                body_bytes = int(value)  # the parser lets only digits through
        if header_bytes > self.limits.header_bytes or body_bytes > self.limits.body_bytes:
            self.refuse(413 if body_bytes > self.limits.body_bytes else 400)
            raise _Refused
        self.phase, self._received_bytes = Phase.BODY, 0
        self.deadline = monotonic() + self.limits.body_timeout_s
        super().on_headers_complete()
        cycle = self.cycle
        cycle.send_500_response = partial(self._answer_500, cycle)  # type: ignore[method-assign]
        if self.parser.should_upgrade():
            cycle.keep_alive = False  # the parser reads nothing after a request that wished to upgrade

    def on_body(self, body: bytes) -> None:
        self._received_bytes += len(body)
        if self._received_bytes > self.limits.body_bytes:
            self.refuse(413)
            raise _Refused
        self.deadline = monotonic() + self.limits.body_timeout_s
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.phase, self.deadline = Phase.ANSWERING, inf
        if self.cycle.response_complete:
            self._await_next_request()

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade is ignored, as HTTP allows."""

    # -- answering -------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.phase is Phase.ANSWERING and self.cycle.response_complete:
            self._await_next_request()

    def _await_next_request(self) -> None:
        self.phase, self.deadline = Phase.IDLE, monotonic() + self.limits.keep_alive_s

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader_check is not None:
            self._reader_check.cancel()

    def _watch_reader(self) -> None:
        self._unsent_bytes_before = self.transport.get_write_buffer_size()
        self._reader_check = self.loop.call_later(self.limits.unsent_timeout_s, self._check_reader)

    def _check_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unsent_bytes_before:
            self._watch_reader()
        else:
            self.transport.abort()

    # -- ending ----------------------------------------------------------------------------------

    def refuse(self, status: int) -> None:
        """Answer with an error of our own and close, but read on for a moment so that the client sees it."""
        self.phase, self.deadline = Phase.CLOSING, monotonic() + LINGER_S
        if self._leave_running_answer():
            self.transport.abort()  # a cut stream must not look like a whole one
            return
        self.transport.write(error_response(self.render_error, status, self.url))
        self.transport.write_eof()
        self.flow.resume_reading()

    def _leave_running_answer(self) -> bool:
        """Tell a running application that its client is gone. Had it begun to answer?"""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return cycle.response_started

    async def _answer_500(self, cycle: RequestResponseCycle) -> None:
        if not cycle.disconnected:
            self.refuse(500)

    def send_400_response(self, msg: str) -> None:
        if self.phase is not Phase.CLOSING:
            self.refuse(400)

    def check_deadline(self, now: float) -> None:
        if self.transport.is_closing() and self.phase is not Phase.CLOSING:
            self._await_flush(now)
        if now < self.deadline:
            return
        match self.phase:
            case Phase.IDLE:
                self.transport.close()
            case Phase.BODY if self.flow.read_paused:  # it is the application that takes its time
                self.deadline = now + self.limits.body_timeout_s
            case Phase.HEADERS | Phase.BODY:
                self.refuse(408)
            case Phase.CLOSING if 0 < self.transport.get_write_buffer_size() < self._unsent_bytes_before:
                self._await_flush(now)
            case Phase.CLOSING:
                self.transport.abort()

    def _await_flush(self, now: float) -> None:
        self._unsent_bytes_before = self.transport.get_write_buffer_size()
        self.phase, self.deadline = Phase.CLOSING, now + self.limits.unsent_timeout_s


class _Server(uvicorn.Server):
    """uvicorn's server without its hands on our signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class UvicornServer:
    """Listens on the sockets it is given and stops when it is told."""

    def __init__(self, application: Application, limits: Limits, render_error: RenderError) -> None:
        self._config = uvicorn.Config(
            application,
            http=partial(Connection, limits=limits, render_error=render_error),  # type: ignore[arg-type]
            ws="none",
            interface="asgi3",
            lifespan="off",  # helexa.serving.lifespan drives it for both servers
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.keep_alive_s),
        )
        self._server = _Server(self._config)

    async def start(self, sockets: list[socket.socket]) -> None:
        self._serving = asyncio.create_task(self._server.serve(sockets))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait([self._serving, listening], return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            self._serving.result()
        self._watch = asyncio.create_task(self._watch_connections())

    async def stop(self, *, grace_s: float) -> None:
        """Stop accepting, let answers under way finish and leave for `grace_s`, then cut what is left."""
        self._config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]
        self._server.should_exit = True
        await self._serving
        self._watch.cancel()
        state = self._server.server_state
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=FLUSH_S)
        for connection in list(state.connections):
            connection.transport.abort()

    async def _watch_connections(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_DEADLINES_EVERY_S)
            now = monotonic()
            for connection in list(self._server.server_state.connections):
                connection.check_deadline(now)  # type: ignore[union-attr]
