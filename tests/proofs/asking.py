"""A client that asks for one chat completion and remembers all that it saw of it, also when it leaves or is cut off."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import httpx

#: Longer than anything may take; whoever waits as long was forgotten.
PATIENCE_S = 120.0

#: How a request ended for its client: `malformed` is what no gateway may ever send.
End = Literal["whole", "error", "left", "cut", "malformed"]


@dataclass(frozen=True)
class Wish:
    """A request, and when its client leaves: after so many chunks of a stream, or seconds of a whole answer."""

    secret: str
    stream: bool
    n: int = 1
    max_tokens: int | None = None
    prompt: str = "hello"
    stop: str | None = None
    seed: int = 0
    leaves_after_chunks: int | None = None
    leaves_after_s: float | None = None

    def body(self) -> dict[str, Any]:
        optional = {"max_tokens": self.max_tokens, "stop": self.stop}
        return {
            "model": "tiny",
            "messages": [{"role": "user", "content": self.prompt}],
            "stream": self.stream,
            "n": self.n,
            "seed": self.seed,
            "temperature": 2.0,
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass
class Seen:
    """What a client saw. Times are monotonic seconds; `usage` is (prompt, completion) as it was told."""

    wish: Wish
    gateway: str
    asked_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    request_id: UUID | None = None
    status: int | None = None
    chunks: int = 0
    usage: tuple[int, int] | None = None
    error: dict[str, Any] | None = None
    end: End = "malformed"
    note: str = ""

    @property
    def code(self) -> str:
        return str((self.error or {}).get("code") or "")


def connections() -> httpx.AsyncClient:
    """What one client asks by. Each has its own: who leaves must not take a connection along that another one uses."""
    return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=3), verify=False)  # plain HTTP


async def ask(client: httpx.AsyncClient, gateway: str, wish: Wish) -> Seen:
    """Ask at the gateway of this URL. Never raises for what a server does."""
    seen = Seen(wish, gateway)
    try:
        async with asyncio.timeout(wish.leaves_after_s if wish.leaves_after_s is not None else PATIENCE_S):
            await _ask(client, seen)
    except TimeoutError:
        seen.end = "malformed" if wish.leaves_after_s is None else "left"
        seen.note = f"nothing for {PATIENCE_S} s" if wish.leaves_after_s is None else ""
    except httpx.TransportError as fault:
        seen.end, seen.note = "cut", f"{type(fault).__name__}: {fault}"
    seen.ended_s = time.monotonic()
    return seen


async def _ask(client: httpx.AsyncClient, seen: Seen) -> None:
    headers = {"Authorization": f"Bearer {seen.wish.secret}"}
    url = f"{seen.gateway}/v1/chat/completions"
    async with client.stream("POST", url, json=seen.wish.body(), headers=headers) as response:
        seen.status = response.status_code
        seen.request_id = UUID(response.headers["x-request-id"].removeprefix("req_"))
        if response.status_code == 200 and seen.wish.stream:
            await _read_stream(response, seen)
        else:
            _read_whole(json.loads(await response.aread()), seen)


def _read_whole(answer: dict[str, Any], seen: Seen) -> None:
    if seen.status == 200:
        seen.usage = _usage(answer["usage"])
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        seen.end = "whole" if len(texts) == seen.wish.n else "malformed"
    else:
        _take_error(answer, seen)


async def _read_stream(response: httpx.Response, seen: Seen) -> None:
    finished = 0
    async for line in response.aiter_lines():
        if not line or line.startswith(":"):  # a comment fills a silence
            continue
        if line == "data: [DONE]":
            if seen.error is None:
                seen.end = "whole" if seen.usage and finished == seen.wish.n else "malformed"
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            _take_error(event, seen)
            continue
        if "usage" in event:
            seen.usage = _usage(event["usage"])
        for choice in event["choices"]:
            seen.chunks += bool(choice["delta"].get("content"))
            finished += choice["finish_reason"] is not None
        if seen.chunks == seen.wish.leaves_after_chunks and seen.usage is None:
            seen.end = "left"
            return


def _take_error(answer: dict[str, Any], seen: Seen) -> None:
    """An error is well-formed if it has the envelope's four fields and a sentence."""
    seen.error = answer["error"]
    assert seen.error is not None
    whole = {"message", "type", "param", "code"} <= seen.error.keys() and bool(seen.error["message"])
    seen.end = "error" if whole else "malformed"


def _usage(told: dict[str, Any]) -> tuple[int, int]:
    return told["prompt_tokens"], told["completion_tokens"]
