"""One connection on Daphne: Twisted's HTTP/1.1 parser under our limits."""

# ruff: noqa: N802, N815 - the names are Twisted's
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from helexa.serving.daphne_request import Request
from helexa.serving.errors import error_response
from helexa.serving.limits import LINGER_S, Phase

if TYPE_CHECKING:
    from helexa.serving.daphne_server import DaphneServer


class Channel(HTTPChannel):
    """Twisted's channel with deadlines. The server looks at them twice a second, so that none needs a timer."""

    requestFactory = Request
    timeOut = None  # Twisted's own would start again with every byte

    def __init__(self, server: DaphneServer) -> None:
        super().__init__()
        self.server = server
        self.totalHeadersSize = self.MAX_LENGTH = server.limits.header_bytes
        self.phase = Phase.IDLE
        self.deadline = monotonic() + server.limits.header_timeout_s
        self._flushed = asyncio.Event()
        self._unsent_bytes_before = 0

    # -- arriving --------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self._peer, self._host = self.transport.getPeer(), self.transport.getHost()
        self.server.channels.add(self)

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def dataReceived(self, data: bytes) -> None:
        match self.phase:
            case Phase.CLOSING:
                return
            case Phase.IDLE:
                self.phase = Phase.HEADERS
                self.deadline = min(self.deadline, monotonic() + self.server.limits.header_timeout_s)
            case Phase.BODY:
                self.deadline = monotonic() + self.server.limits.body_timeout_s
        LineReceiver.dataReceived(self, data)

    def allHeadersReceived(self) -> None:
        if self.length is not None and self.length > self.server.limits.body_bytes:
            self.refuse(413)
            return
        self.phase, self.deadline = Phase.BODY, monotonic() + self.server.limits.body_timeout_s
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        if self.is_closing:
            return
        self.phase, self.deadline = Phase.ANSWERING, inf
        super().allContentReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(400)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400)

    # -- answering -------------------------------------------------------------------------------

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        lines = [b"%b %b %b\r\ndate: %b\r\n" % (version, code, reason, self.server.date)]
        for name, values in headers.getAllRawHeaders():
            lines += [b"%b: %b\r\n" % (name, value) for value in values]
        lines.append(b"\r\n")
        self.transport.write(b"".join(lines))

    def requestDone(self, request: Request) -> None:
        self.phase, self.deadline = Phase.IDLE, monotonic() + self.server.limits.keep_alive_s
        super().requestDone(request)

    @property
    def is_behind(self) -> bool:
        """Does the reader take less than is written? Then Twisted holds more than 64 KiB for it."""
        return self._waitingForTransport

    async def caught_up(self) -> None:
        """Wait while more than `unsent_bytes` wait for the reader; cut off one that takes nothing."""
        limits = self.server.limits
        while self.transport.connected and (before := self._unsent_bytes()) > limits.unsent_bytes:
            self._flushed.clear()
            try:
                async with asyncio.timeout(limits.unsent_timeout_s):
                    await self._flushed.wait()
            except TimeoutError:
                if self._unsent_bytes() >= before:
                    self.transport.abortConnection()
                    return

    def _unsent_bytes(self) -> int:
        transport = self.transport
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._flushed.set()

    # -- ending ----------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        return self.phase is Phase.CLOSING

    def refuse(self, status: int) -> None:
        """Answer with an error of our own and close, but read on for a moment so that the client sees it."""
        self.phase, self.deadline = Phase.CLOSING, monotonic() + LINGER_S
        self.paused = True  # ends LineReceiver's loop over what it holds
        self.transport.write(error_response(self.server.render_error, status, self._requested_path()))
        self.transport.loseWriteConnection()

    def _requested_path(self) -> bytes:
        if hasattr(self, "_path"):  # Twisted keeps it from the request line to the end of the body
            return self._path
        return self.requests[0].path or b"" if self.requests else b""

    def loseConnection(self) -> None:
        """Close as soon as what is written has left; no byte of another request is read."""
        self.phase, self.deadline = Phase.CLOSING, monotonic() + self.server.limits.unsent_timeout_s
        self._unsent_bytes_before = self._unsent_bytes()
        super().loseConnection()

    def close_when_answered(self) -> None:
        if self.phase is Phase.ANSWERING:
            self.persistent = False
        elif not self.is_closing:
            self.loseConnection()

    def check_deadline(self, now: float) -> None:
        if now < self.deadline:
            return
        match self.phase:
            case Phase.IDLE:
                self.loseConnection()
            case Phase.HEADERS | Phase.BODY:
                self.refuse(408)
            case Phase.CLOSING if 0 < (left := self._unsent_bytes()) < self._unsent_bytes_before:
                self._unsent_bytes_before, self.deadline = left, now + self.server.limits.unsent_timeout_s
            case Phase.CLOSING:
                self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        self.server.channels.discard(self)
        self.phase, self.deadline = Phase.CLOSING, inf
        super().connectionLost(reason)
        self._flushed.set()
