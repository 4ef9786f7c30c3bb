"""Publishing requests as Celery tasks: from a thread, one at a time, all that waits for a neuron together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import structlog
from celery import current_app

from fleet.reports import task_queue
from inference import wire
from inference.gateway.attempts import Attempt
from inference.refusals import unavailable

log = structlog.get_logger(__name__)

#: A task nobody took within this time is dropped, and its client told so: shorter than any client's patience.
START_LIMIT_S = 60
#: At most this many requests travel in one task.
MOST_PER_TASK = 64


class Dispatcher:
    """Requests that arrive while a publish is under way go together in the next one, per neuron (DESIGN 3.4)."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[Attempt, bytes]]] = defaultdict(list)
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dispatch")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="dispatch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False)

    def send(self, attempt: Attempt, order: wire.Order) -> None:
        """Queue one request for its neuron. A publish that fails ends the attempt with a 503."""
        self._waiting[attempt.neuron.name].append((attempt, wire.encode_order(order)))
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                neuron, batch = self._next_batch()
                if not batch:
                    continue
                payload = wire.together(order for _, order in batch).decode()
                try:
                    await loop.run_in_executor(self._thread, _publish, neuron, payload)
                except Exception as fault:
                    log.error("publish_failed", neuron=neuron, requests=len(batch), reason=str(fault))
                    for attempt, _ in batch:
                        attempt.fail(
                            unavailable("Redis does not answer, so no neuron can be reached.", retry_after_s=5)
                        )

    def _next_batch(self) -> tuple[str, list[tuple[Attempt, bytes]]]:
        """The requests of the neuron that waits longest; clients that left in the meantime need no task."""
        neuron, waiting = next(iter(self._waiting.items()))
        del self._waiting[neuron]
        if len(waiting) > MOST_PER_TASK:
            self._waiting[neuron] = waiting[MOST_PER_TASK:]
        return neuron, [(attempt, order) for attempt, order in waiting[:MOST_PER_TASK] if not attempt.ended]


def _publish(neuron: str, payload: str) -> None:
    current_app.send_task(
        wire.GENERATE_TASK,
        args=(payload,),
        queue=task_queue(neuron),
        expires=START_LIMIT_S,
        retry=False,
        ignore_result=True,
    )
