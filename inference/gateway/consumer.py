"""All of `/v1`: one Channels consumer per request. It checks the key, finds the endpoint and answers every fault.

The consumer has its own `http_request` and `http_disconnect` and does its work in a task beside them, so that it
notices a client that leaves while it streams, under Daphne and uvicorn alike; AsyncHttpConsumer would not (DESIGN 3.1).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer

from accounts.credentials import presented_secret
from accounts.principals import Principal
from inference.gateway import metrics
from inference.gateway.endpoints import find_endpoint
from inference.gateway.exchange import Exchange
from inference.gateway.principals import no_key
from inference.gateway.runtime import Gateway
from inference.refusals import Draining, Refusal

log = structlog.get_logger(__name__)
trace = logging.getLogger(__name__)

#: The level at which bodies are shown, and how much of one (MISSION G17). Its name is given by helexa.logs.
TRACE = 5
MOST_BODY_SHOWN = 8192

#: A larger body is refused; Daphne and uvicorn refuse it by the same number before it is read (helexa.serving).
MOST_BODY_BYTES = 32 * 1024 * 1024

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class V1Consumer(AsyncConsumer):
    """One HTTP request to `/v1`. `gateway` is given by the application at start."""

    def __init__(self, *, gateway: Gateway) -> None:
        self._gateway = gateway
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the messages of one request to their handlers, as AsyncConsumer does, for a third of what that costs.

        It would look for old database connections in a thread at every message and wait for a channel layer too;
        nothing here uses the ORM or a layer.
        """
        self.scope, self.base_send = scope, send
        try:
            while True:
                message = await receive()
                await getattr(self, get_handler_name(message))(message)
        except StopConsumer:
            return

    async def http_request(self, message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        self._body.append(body)
        self._body_bytes += len(body)
        too_large = self._body_bytes > MOST_BODY_BYTES
        if self._work is None and (too_large or not message.get("more_body")):
            exchange = Exchange(self.scope, b"" if too_large else b"".join(self._body), self.send)
            self._body.clear()
            self._work = asyncio.create_task(self._answer(exchange, too_large=too_large))

    async def http_disconnect(self, message: dict[str, Any]) -> None:
        if self._work is not None:
            self._work.cancel()
        raise StopConsumer

    async def _answer(self, exchange: Exchange, *, too_large: bool) -> None:
        """Run the endpoint; every way it can end is an answer in the envelope, or silence to a client that left."""
        self._gateway.enter()
        try:
            if exchange.method == "OPTIONS":
                await exchange.preflight()
                return
            await self._run_endpoint(exchange, too_large=too_large)
        except Refusal as refusal:
            if "model" not in exchange.facts:  # refused before anything was known that a meter could count by
                metrics.requests.labels("", "").inc()
                metrics.request_errors.labels("", "", refusal.code or str(refusal.status)).inc()
            await exchange.refuse(refusal)
        except asyncio.CancelledError:
            exchange.status = exchange.status or 499
        except Exception:
            log.exception("request_fault", request=exchange.request_id, path=exchange.path)
            await exchange.refuse(Refusal("Something went wrong here; the error was logged under this request's id."))
        finally:
            self._gateway.leave()
            if exchange.identified and exchange.method == "POST" and not exchange.goes_on:
                self._gateway.records.add(exchange)
            self._log(exchange)

    async def _run_endpoint(self, exchange: Exchange, *, too_large: bool) -> None:
        principal = await self._identify(exchange)
        endpoint = find_endpoint(exchange)
        if too_large:
            raise Refusal(f"The request body is larger than {MOST_BODY_BYTES} bytes.", status=413)
        if self._gateway.draining:
            raise Draining
        if trace.isEnabledFor(TRACE):
            trace.log(
                TRACE,
                "body of %s: %r (%d bytes)",
                exchange.request_id,
                exchange.body[:MOST_BODY_SHOWN],
                len(exchange.body),
            )
        await endpoint(self._gateway, exchange, principal)

    async def _identify(self, exchange: Exchange) -> Principal | None:
        """Who asks. None is anonymous, where that is allowed; a wrong key is refused always."""
        secret = presented_secret(exchange.headers)
        if secret is not None:
            exchange.principal = await self._gateway.principals.identify(secret)
        elif self._gateway.require_auth:
            raise no_key()
        exchange.identified = True
        return exchange.principal

    @staticmethod
    def _log(exchange: Exchange) -> None:
        log.debug(
            "request",
            request=exchange.request_id,
            method=exchange.method,
            path=exchange.path,
            status=exchange.status,
            key=exchange.principal.key_id if exchange.principal else None,
            seconds=round(time.monotonic() - exchange.started_s, 3),
            **exchange.facts,
        )
