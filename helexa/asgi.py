"""The ASGI application: `/v1` and `/health` go to the gateway, everything else to Django.

Plain ASGI with lifespan, so any server can run it; helexa.serving runs it under Daphne or uvicorn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helexa.settings")

import structlog
from django.core.asgi import get_asgi_application

django_application: Any = get_asgi_application()  # its types are narrower than what ASGI servers hand it

from django.conf import settings  # noqa: E402

from inference.gateway.consumer import V1Consumer  # noqa: E402
from inference.gateway.envelopes import envelope_of  # noqa: E402
from inference.gateway.exchange import CORS, new_request_id  # noqa: E402
from inference.gateway.runtime import Gateway  # noqa: E402
from inference.refusals import Refusal  # noqa: E402

log = structlog.get_logger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """Lives as long as its server; the gateway exists between the lifespan's startup and shutdown."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None
        self._v1: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})  # nothing here speaks WebSocket
        elif scope["path"].startswith("/v1/") or scope["path"] == "/v1":
            await self._v1(scope, receive, send)
        elif scope["path"] == "/health":
            await self._health(scope, send)
        else:
            await django_application(scope, receive, with_request_id(scope, send))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                assert settings.DATABASE_URL is not None, "set DATABASE_URL, or start helexa with `make up`"
                assert settings.REDIS_URL is not None, "set REDIS_URL, or start helexa with `make up`"
                self._gateway = gateway = Gateway(
                    database_url=settings.DATABASE_URL,
                    redis_url=settings.REDIS_URL,
                    key_pepper=settings.HELEXA_KEY_PEPPER,
                    url=os.environ.get("HELEXA_GATEWAY_URL", ""),
                    require_auth=settings.HELEXA_REQUIRE_AUTH,
                    retention_days=settings.HELEXA_RETENTION_DAYS,
                    keep_alive_s=settings.HELEXA_KEEP_ALIVE_SECS,
                    store_days=settings.HELEXA_STORE_DAYS,
                    store_max_bytes=settings.HELEXA_STORE_MAX_BYTES,
                )
                self._v1 = V1Consumer.as_asgi(gateway=gateway)
                await gateway.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._gateway is not None:
                    await self._gateway.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _health(self, scope: Scope, send: Send) -> None:
        """Ready or why not; with `?live=1` only whether the process lives."""
        assert self._gateway is not None
        live = b"live=1" in scope["query_string"].split(b"&")
        health: dict[str, Any] = {"live": True} if live else self._gateway.health()
        body = json.dumps(health).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        send = with_request_id(scope, send)
        await send(
            {"type": "http.response.start", "status": 200 if live or health["ready"] else 503, "headers": headers}
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def drain(self) -> None:
        """Refuse new work from now on; returns when nothing runs."""
        if self._gateway is not None:
            await self._gateway.drain()


def with_request_id(scope: Scope, send: Send) -> Send:
    """Every answer names the request, by an id of ours that is in the log as well."""
    request_id = new_request_id()

    async def send_with_id(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_named(request_id)]}
            log.debug(
                "request", request=request_id, method=scope["method"], path=scope["path"], status=message["status"]
            )
        await send(message)

    return send_with_id


def render_error(status: int, path: str, message: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an error that the server makes itself, before any application saw the request."""
    request_id = new_request_id()
    named = _named(request_id)
    log.debug("request", request=request_id, path=path, status=status)
    if path == "/v1" or path.startswith("/v1/"):
        body = envelope_of(path, []).envelope(Refusal(message, status=status), request_id)
        return [(b"content-type", b"application/json"), *named, *CORS], body
    return [(b"content-type", b"text/plain; charset=utf-8"), *named], f"{message}\n".encode()


def _named(request_id: str) -> list[tuple[bytes, bytes]]:
    return [(name, request_id.encode()) for name in (b"x-request-id", b"request-id")]


application = Application()
drain = application.drain
