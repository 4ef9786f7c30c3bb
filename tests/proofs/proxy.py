"""A TCP proxy on loopback for faults of the wire: one that goes silent, and one that loses chosen answers."""

from __future__ import annotations

import asyncio

#: PostgreSQL's word that a COMMIT is done (CommandComplete).
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
#: What only connections that book say.
BOOKING = b"accounts_reservation"


class Proxy:
    """Forwards to `host`:`port` while it is used as `async with`; `silence` and `lose_commits_every` make it faulty."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._lines: set[asyncio.Task[None]] = set()
        self._commits = 0
        #: Of so many answers to a COMMIT of a booking connection one is lost, and the connection with it; 0: none.
        self.lose_commits_every = 0
        self.lost = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def silence(self) -> None:
        """From now on nothing passes, in either direction, and nobody is told: as behind a cable that was pulled."""
        self._open.clear()

    def speak(self) -> None:
        """What was sent meanwhile arrives late, in its order."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        upstream: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            back, upstream = await asyncio.open_connection(*self._upstream)
            books = asyncio.Event()
            ways = [
                asyncio.create_task(self._there(reader, upstream, books)),
                asyncio.create_task(self._back(back, writer, books)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # whoever called sees the connection close
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, books: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            if BOOKING in data:
                books.set()
            writer.write(data)
            await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, books: asyncio.Event) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            if self.lose_commits_every and books.is_set() and COMMITTED in data:
                self._commits += 1
                if self._commits % self.lose_commits_every == 0:
                    self.lost += 1
                    return
            writer.write(data)
            await writer.drain()
