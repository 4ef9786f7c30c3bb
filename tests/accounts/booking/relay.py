"""Something between a gateway and PostgreSQL that a test can cut at a chosen moment: how an outage looks from here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

#: psycopg sends it by this name, never as a prepared statement.
COMMIT = b"COMMIT"


class Relay:
    """Passes bytes both ways, until it is told otherwise."""

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut_next = False
        self.is_refusing = False
        self._freeze_s = 0.0
        self.url = ""
        self.cut = asyncio.Event()

    def cut_after_commit(self) -> None:
        """Let the next commit through, and break the connection instead of passing its answer on."""
        self._cut_next = True

    def go_away(self) -> None:
        """End every connection and accept none, until `come_back`."""
        self.is_refusing = True
        self.break_connections()

    def come_back(self) -> None:
        self.is_refusing = False

    def freeze_before_answer(self, seconds: float) -> None:
        """Stop this whole process, gateway and all, before the next answer is passed on: as SIGSTOP would."""
        self._freeze_s = seconds

    def break_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            writer.transport.abort()
            return
        assert self._target.hostname is not None
        there, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, there_writer}
        swallow = asyncio.Event()
        there_to_here = asyncio.create_task(self._answers(there, writer, swallow))
        self._tasks.add(there_to_here)
        try:
            while data := await reader.read(65536):
                if self._cut_next and COMMIT in data:
                    self._cut_next = False
                    swallow.set()
                there_writer.write(data)
        except ConnectionError:
            pass
        finally:
            there_writer.close()
            writer.close()

    async def _answers(self, there: asyncio.StreamReader, here: asyncio.StreamWriter, swallow: asyncio.Event) -> None:
        try:
            while data := await there.read(65536):
                if swallow.is_set():  # the server has carried out what it answers
                    here.transport.abort()
                    self.cut.set()
                    return
                if self._freeze_s:
                    seconds, self._freeze_s = self._freeze_s, 0.0
                    time.sleep(seconds)
                here.write(data)
        except ConnectionError:
            pass
        finally:
            here.close()


@asynccontextmanager
async def relay(database_url: str) -> AsyncIterator[Relay]:
    between = Relay(database_url)
    server = await asyncio.start_server(between.serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    target = urlsplit(database_url)
    credentials = target.netloc.rpartition("@")[0]
    between.url = target._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
    try:
        yield between
    finally:
        server.close()
        between.break_connections()
        await asyncio.sleep(0)
