"""A keep-alive connection that carries one request at a time and takes the time of its answer.

A bare protocol, because the generator shares its cores with what it measures: of a stream it looks for the first text
and for the end, and reads nothing.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from time import perf_counter
from typing import cast

from helexa.loadtest.answers import dechunked

_TEXT = re.compile(rb'"content": ?"[^"]')  # in the opening chunk of a stream the content is empty
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(slots=True)
class Answer:
    """What came for one request. `first_s` is when the first text of a stream was there, 0 without any."""

    raw: bytearray
    body_at: int
    is_chunked: bool
    asked_s: float
    first_s: float
    ended_s: float

    @property
    def status(self) -> bytes:
        return bytes(self.raw[9:12])

    @property
    def body(self) -> bytes:
        body = bytes(self.raw[self.body_at :])
        return dechunked(body) if self.is_chunked else body


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request. The answer, or a ConnectionError where the server hangs up before its end."""
        assert self._transport is not None
        self._raw = bytearray()
        self._body_at = 0
        self._length: int | None = None
        self._first_s = 0.0
        self._waiter = asyncio.get_running_loop().create_future()
        self._asked_s = perf_counter()
        self._transport.write(request)
        return self._waiter

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # -- what the event loop calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, fault: Exception | None) -> None:
        self.is_open = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the server closed the connection before the answer had ended"))

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # nobody asked for this; the next request goes by a new connection
            return
        self._raw += data
        if not self._first_s and _TEXT.search(self._raw, self._body_at):
            self._first_s = perf_counter()
        if not self._body_at:
            self._read_head()
        if self._body_at and self._is_whole():
            chunked = self._length is None
            self._waiter.set_result(
                Answer(self._raw, self._body_at, chunked, self._asked_s, self._first_s, perf_counter())
            )

    def _read_head(self) -> None:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return
        self._body_at = end + 4
        head = bytes(self._raw[: self._body_at]).lower()
        length = _LENGTH.search(head)
        self._length = int(length[1]) if length else None
        if b"\r\nconnection: close\r\n" in head:
            self.is_open = False

    def _is_whole(self) -> bool:
        if self._length is None:
            return self._raw.endswith(_LAST_CHUNK)
        return len(self._raw) - self._body_at >= self._length
