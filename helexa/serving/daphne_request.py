"""One request on Daphne: from Twisted's parser to the application, and its answer back."""

# ruff: noqa: N802 - the names are Twisted's
# mypy: allow-subclassing-any

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from daphne.http_protocol import WebRequest
from daphne.utils import INVALID_HEADER_VALUE_BYTES

from helexa.serving.limits import MIB

if TYPE_CHECKING:
    from helexa.serving.daphne_channel import Channel
    from helexa.serving.daphne_server import DaphneServer
    from helexa.serving.lifespan import Receive

logger = logging.getLogger(__name__)

#: Of each status; Twisted lacks those that came after 1999.
_WORDS = {status.value: status.phrase.encode() for status in HTTPStatus}
_FORBIDDEN_IN_VALUES = bytes(INVALID_HEADER_VALUE_BYTES)


class Request(WebRequest):
    """Daphne's request with limits, an answer to every failure at once, and no WebSocket: an upgrade is ignored."""

    channel: Channel
    server: DaphneServer
    application_queue: asyncio.Queue[dict[str, Any]] | None
    _response_started: bool

    # -- the request -----------------------------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        # What arrives slowly and may be large waits on disk, so that many slow uploads do not fill the memory.
        self.content = BytesIO() if length is not None and length <= MIB else SpooledTemporaryFile(MIB)  # noqa: SIM115

    def handleContentChunk(self, data: bytes) -> None:
        if self.channel.is_closing:
            return
        if self.content.tell() + len(data) > self.server.limits.body_bytes:
            self.channel.refuse(413)
            return
        self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # Twisted would parse forms and query strings here: costly, and the application does it itself.
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query_string = path.partition(b"?")
        self.process()

    def process(self) -> None:
        headers = self._clean_headers()
        if headers is None:
            self.channel.refuse(400)
            return
        self.content.seek(0)
        body = self.content.read()
        self.content.close()
        path = self.path.decode("ascii")  # the parser lets nothing else through
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.application_queue = inbox
        inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self.server.start_task(
            self._answer(
                inbox.get,
                {
                    "type": "http",
                    "asgi": {"version": "3.0", "spec_version": "2.3"},
                    "http_version": "1.1" if self.clientproto == b"HTTP/1.1" else "1.0",
                    "method": self.method.decode("ascii"),
                    "scheme": "http",
                    "path": unquote(path) if "%" in path else path,
                    "raw_path": self.path,
                    "query_string": self.query_string,
                    "root_path": "",
                    "headers": headers,
                    "client": [self.client.host, self.client.port],
                    "server": [self.host.host, self.host.port],
                },
            )
        )

    def _clean_headers(self) -> list[tuple[bytes, bytes]] | None:
        """The headers in ASGI's form, or None where a value holds what none may hold."""
        headers = []
        for name, values in self.requestHeaders.getAllRawHeaders():
            if b"_" in name:  # would pass for the name with a dash (CVE-2015-0219)
                continue
            lowered = name.lower()
            for value in values:
                if len(value.translate(None, _FORBIDDEN_IN_VALUES)) != len(value):
                    return None
                headers.append((lowered, value))
        return headers

    # -- the answer ------------------------------------------------------------------------------

    async def _answer(self, receive: Receive, scope: dict[str, Any]) -> None:
        """Run the application to its end. Whatever it does, the client is not left waiting."""
        try:
            await self.server.application(scope, receive, self.send)
        except Exception:
            logger.exception("The application failed on %s %s", scope["method"], scope["path"])
        else:
            if not self._is_over:
                logger.error("The application left %s %s without an answer", scope["method"], scope["path"])
        finally:
            if not self._is_over:
                self._give_up()

    @property
    def _is_over(self) -> bool:
        return bool(self.finished or self._disconnected)

    def _give_up(self) -> None:
        if self._response_started:
            self.channel.loseConnection()  # without the last chunk: a cut stream does not look like a whole one
        else:
            self.channel.refuse(500)

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's `send`. It waits while the reader is too far behind; after a disconnect it does nothing."""
        if self.finished or self._disconnected:
            return
        match message["type"]:
            case "http.response.body" if self._response_started:
                self.write(message.get("body", b""))
                if not message.get("more_body", False):
                    self.finish()
                elif self.channel.is_behind:
                    await self.channel.caught_up()
            case "http.response.start" if not self._response_started:
                self.setResponseCode(message["status"], _WORDS.get(message["status"]))
                for name, value in message.get("headers", ()):
                    self.responseHeaders.addRawHeader(name, value)
                self._response_started = True
                self.write(b"")  # headers leave now: the first piece of a body may be long in coming
            case unexpected:
                raise RuntimeError(f"{unexpected} is not what an answer may contain at this point.")
