"""The lifespan protocol of ASGI, driven by us so that both servers start and stop an application alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class LifespanError(Exception):
    """The application could not start or stop; the text is its own."""


class Lifespan:
    """One application's start and end. The application runs in a task of its own in between."""

    def __init__(self, application: Application) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        self._task = asyncio.ensure_future(application(scope, self._inbox.get, self._outbox.put))

    async def startup(self) -> None:
        await self._step("lifespan.startup")

    async def shutdown(self) -> None:
        await self._step("lifespan.shutdown")
        await self._task

    async def cancel(self) -> None:
        """Give up a start-up or shutdown that has not finished."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _step(self, name: str) -> None:
        self._inbox.put_nowait({"type": name})
        answer = asyncio.ensure_future(self._outbox.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            self._task.result()  # its own exception, where it ended with one
            raise LifespanError(f"The application ended without an answer to {name}.")
        message = answer.result()
        if message["type"] != f"{name}.complete":
            raise LifespanError(message.get("message") or f"The application answered {message['type']}.")
