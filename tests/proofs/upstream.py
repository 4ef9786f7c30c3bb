"""A model server that costs next to nothing: what LiteLLM is measured in front of.

    uvicorn tests.proofs.upstream:application

Answers every chat completion with as many words as the load test wants, as one chunk each where it streams.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from helexa.loadtest.answers import WORDS

_HEAD = {"id": "chatcmpl-0", "created": 0, "model": "echo"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": WORDS, "total_tokens": 9 + WORDS}
_WHOLE = json.dumps(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * WORDS}, "finish_reason": "stop"}
        ],
        "usage": _USAGE,
    }
).encode()


def _chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: %s\n\n" % json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}).encode()


_STREAM = [_chunk({"role": "assistant", "content": "word "}), *[_chunk({"content": "word "})] * (WORDS - 1)]
_STREAM += [_chunk({}, "stop"), b"data: [DONE]\n\n"]


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """ASGI."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    streams = bool(json.loads(body or b"{}").get("stream"))
    kind = b"text/event-stream" if streams else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for piece in _STREAM if streams else [_WHOLE]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
