"""A server that says what the test wants it to say: the faults of others have to be made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

#: The bytes of an answer, by the number of the request (from 0) and whether it asks for a stream; b"" hangs up.
Script = Callable[[int, bool], bytes]
Serve = Callable[[Script], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server of a script; gives its URL."""
    servers: list[asyncio.Server] = []

    async def start(script: Script) -> str:
        served = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                    body = await reader.readexactly(int(length.split(b":")[1]))
                    reply = script(served, b'"stream":true' in body)
                    served += 1
                    writer.write(reply)
                    await writer.drain()
                    if not reply:
                        break
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1")
        servers.append(server)
        host, port = server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    yield start
    for server in servers:
        server.close()
