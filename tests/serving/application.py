"""A small ASGI application that does what a test asks by its path and tells on stdout what happened to it."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

running = 0
draining = asyncio.Event()
idle = asyncio.Event()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global running
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if draining.is_set():
        await answer(send, 503, b"draining")
        return
    running += 1
    try:
        await handle(scope, receive, send)
    finally:
        running -= 1
        if not running:
            idle.set()


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        tell(message["type"])
        if message["type"] == "lifespan.startup":
            match os.environ.get("STARTUP"):
                case "fails":
                    raise RuntimeError("no start on purpose")
                case "is refused":
                    await send({"type": "lifespan.startup.failed", "message": "not today"})
                    return
                case "hangs":
                    await asyncio.Event().wait()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def drain() -> None:
    draining.set()
    tell("draining")
    if running:
        idle.clear()
        await idle.wait()


async def handle(scope: dict[str, Any], receive: Any, send: Any) -> None:
    name, *numbers = scope["path"].removeprefix("/").split("/")
    sizes = [int(number) for number in numbers if number.isdecimal()]
    match name:
        case "stream":
            await read_body(receive)
            await stream(scope["path"], receive, send, *sizes)
        case "hold":
            await hold(scope["path"], receive, send)
        case "fail":
            raise RuntimeError("a failure on purpose")
        case "fail-late":
            await start(send, 200)
            await send({"type": "http.response.body", "body": b"half of", "more_body": True})
            raise RuntimeError("a failure on purpose")
        case "status":
            await answer(send, sizes[0], b"")
        case "silent":
            return
        case "whole":
            await answer(send, 200, b"x" * sizes[0])
        case _:
            body = await read_body(receive)
            tell(f"asked {scope['path']}")
            asked = {key: scope[key] for key in ("method", "path", "http_version", "scheme", "client", "server")}
            asked["query_string"] = scope["query_string"].decode()
            asked["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
            asked["body_bytes"] = len(body)
            await answer(send, 200, json.dumps(asked).encode())


async def stream(path: str, receive: Any, send: Any, pieces: int, piece_bytes: int, pause_ms: int = 0) -> None:
    """Pieces, at once or with pauses, until the client has gone."""
    left = asyncio.create_task(receive())
    await start(send, 200)
    for number in range(pieces):
        await send({"type": "http.response.body", "body": b"x" * piece_bytes, "more_body": True})
        if number == 0:
            tell(f"streaming {path}")
        await asyncio.sleep(pause_ms / 1000)
        if left.done():
            tell(f"disconnected {path}")
            return
    await send({"type": "http.response.body", "body": b""})
    tell(f"finished {path}")
    left.cancel()


async def hold(path: str, receive: Any, send: Any) -> None:
    """Headers and nothing more, until the client has gone."""
    await read_body(receive)
    await start(send, 200)
    tell(f"holding {path}")
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        tell(f"cancelled {path}")
        raise
    tell(f"disconnected {path}")


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            tell("disconnected in the body")
            raise asyncio.CancelledError
        body += message["body"]
        if not message["more_body"]:
            return body


async def start(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-request-id", b"ours"), *headers]})


async def answer(send: Any, status: int, body: bytes) -> None:
    await start(send, status, (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.body", "body": body})


def render_error(status: int, path: str, message: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"ours")]
    return headers, json.dumps({"status": status, "path": path, "message": message}).encode()


def tell(event: str) -> None:
    print(event, flush=True)
