"""One HTTP exchange on `/v1`: what came, and the few ways to answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from accounts.principals import Principal
from inference.gateway import rate_limits
from inference.gateway.attempts import Attempt
from inference.gateway.caps import CapReached
from inference.gateway.envelopes import envelope_of, speaks_anthropic
from inference.gateway.recipient import Broken
from inference.refusals import Refusal

#: `/v1` answers any origin, without credentials (MISSION G13).
CORS = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
_PREFLIGHT = [
    *CORS,
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", b"86400"),
]
_JSON = (b"content-type", b"application/json")
#: No proxy may hold back or squeeze what streams.
_SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


def new_id() -> UUID:
    """Ours and unique; what a client sends under this name is never used.

    Led by the time, as UUID 7 is, since it is also the id of the reservation: rows lie in the order they came in.
    """
    return UUID(bytes=int(time.time() * 1000).to_bytes(6, "big") + secrets.token_bytes(10))


def new_request_id() -> str:
    return f"req_{new_id().hex}"


class Exchange:
    """`status` is None until an answer has begun, and 499 for a client that left before. `facts` go into the log."""

    def __init__(self, scope: dict[str, Any], body: bytes, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        #: The id in the path, where the endpoint's has one.
        self.item_id = ""
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.body = body
        self.id = new_id()
        self.request_id = f"req_{self.id.hex}"
        self.came_at = time.time()
        self.started_s = time.monotonic()
        self.status: int | None = None
        #: Set once it is known who asks; `principal` is None for an anonymous request.
        self.identified = False
        self.principal: Principal | None = None
        #: The attempt that answers, once there is one.
        self.attempt: Attempt | None = None
        self.facts: dict[str, Any] = {}
        #: Its work goes on behind the answer; whoever does it makes the record.
        self.goes_on = False
        self._send = send
        self._query: bytes = scope.get("query_string", b"")
        #: The cap that this request does not fit, once it is known not to.
        self._cap: CapReached | None = None
        #: How the stream that has opened says that it cannot go on.
        self._broken: Broken | None = None
        self._ids = [(b"x-request-id", self.request_id.encode()), (b"request-id", self.request_id.encode())]

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def query(self) -> dict[str, list[str]]:
        """What follows the path: every value of every name. Unknown names mean nothing."""
        return parse_qs(self._query.decode(errors="replace"), keep_blank_values=True)

    def require_json(self) -> None:
        """Raises Refusal (415) for another content type or an encoded body. A missing content type counts as JSON."""
        content_type = (self.header(b"content-type") or b"application/json").split(b";")[0].strip().lower()
        if content_type != b"application/json":
            raise Refusal("The content type must be application/json.", status=415)
        if (self.header(b"content-encoding") or b"identity").strip().lower() != b"identity":
            raise Refusal("A compressed body is not accepted: send it with no content encoding.", status=415)

    async def answer(self, body: bytes, *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """Send a whole JSON answer."""
        self.status = status
        length = (b"content-length", str(len(body)).encode())
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [_JSON, length, *self._named, *(headers or [])],
            }
        )
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    @property
    def _named(self) -> list[tuple[bytes, bytes]]:
        """The headers of every answer: which request it is, who may read it, and what is left to its key."""
        left = self._cap.left if self._cap else self.attempt.tokens_left if self.attempt else None
        anthropic = left is not None and speaks_anthropic(self.path, self.headers)
        return [*self._ids, *CORS, *rate_limits.headers(left, anthropic=anthropic)]

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error: a plain status, or the last event of a stream whose 200 has left."""
        self.facts["code"] = refusal.code or refusal.status
        self._cap = refusal if isinstance(refusal, CapReached) else None
        if self._broken is not None:
            await self.send_last(self._broken(refusal))
            return
        envelope = envelope_of(self.path, self.headers)
        body = envelope.envelope(refusal, self.request_id)
        await self.answer(body, status=envelope.status(refusal), headers=refusal.headers)

    async def preflight(self) -> None:
        self.status = 204
        await self._send({"type": "http.response.start", "status": 204, "headers": [*_PREFLIGHT, *self._ids]})
        await self._send({"type": "http.response.body", "body": b""})

    async def open_stream(self, broken: Broken) -> None:
        """Send the 200 of a stream: from here on an error is what `broken` makes of it."""
        self.status, self._broken = 200, broken
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_SSE, *self._named]})

    async def send(self, frames: bytes) -> None:
        await self._send({"type": "http.response.body", "body": frames, "more_body": True})

    async def send_last(self, frames: bytes) -> None:
        await self._send({"type": "http.response.body", "body": frames})
