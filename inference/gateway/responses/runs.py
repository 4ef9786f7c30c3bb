"""The background responses that run in this gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

#: How long a gateway that stops waits for what it ran to be written down as ended.
STOP_LIMIT_S = 5.0


class Runs:
    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        #: Of which the account asked for the end.
        self._cancelled: set[UUID] = set()

    def start(self, response: UUID, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"background {response.hex}")
        self._tasks[response] = task
        task.add_done_callback(lambda _: self._forget(response))

    def cancel(self, response: UUID) -> None:
        """Cancel a response, if it runs here. Once: its end must not be cancelled too."""
        if response in self._tasks and response not in self._cancelled:
            self._cancelled.add(response)
            self._tasks[response].cancel()

    def is_cancelled(self, response: UUID) -> bool:
        """Whether that is why its task was cancelled; otherwise the gateway stops."""
        return response in self._cancelled

    async def stop(self) -> None:
        """End what still runs."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=STOP_LIMIT_S)

    def _forget(self, response: UUID) -> None:
        self._tasks.pop(response, None)
        self._cancelled.discard(response)
