"""Request records, written behind: no money, so they may wait, travel in batches, and are dropped before memory is."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection, Error

from inference.gateway.attempts import Attempt
from inference.gateway.exchange import Exchange
from inference.usage import Usage

log = structlog.get_logger(__name__)

WRITE_PERIOD_S = 1.0
WRITE_LIMIT_S = 5.0
#: Records that wait for a database that is away; the oldest are dropped.
MOST_WAITING = 50_000
#: A request whose client left is recorded with its counts when its neuron has said its last word, or after this.
LAST_WORD_LIMIT_S = 30.0

_COPY = """
COPY accounts_requestrecord (request_id, at, account_id, key_id, dialect, model, node, stream, status, finish_reason,
  error, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, first_token_ms, duration_ms) FROM STDIN
"""


@dataclass(frozen=True, slots=True)
class _Record:
    """All of a row but the token counts, which its attempt knows."""

    since_s: float
    attempt: Attempt | None
    before_counts: tuple[Any, ...]
    after_counts: tuple[Any, ...]

    def is_complete(self, now_s: float) -> bool:
        return self.attempt is None or self.attempt.over or now_s - self.since_s > LAST_WORD_LIMIT_S

    @property
    def row(self) -> tuple[Any, ...]:
        usage = self.attempt.usage if self.attempt is not None else Usage()
        return (*self.before_counts, *usage, *self.after_counts)


class Records:
    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._waiting: deque[_Record] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="records")

    async def stop(self) -> None:
        """Write what there is, if the database answers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._write(list(self._waiting))
        except (Error, OSError, TimeoutError) as fault:
            log.warning("records_lost", records=len(self._waiting), reason=str(fault))

    def add(self, exchange: Exchange) -> None:
        """Note a request that has been answered, or whose client left."""
        now_s, facts, principal = time.monotonic(), exchange.facts, exchange.principal
        self._waiting.append(
            _Record(
                now_s,
                exchange.attempt,
                (
                    exchange.request_id,
                    datetime.fromtimestamp(exchange.came_at, UTC),
                    principal.account_pk if principal else None,
                    principal.key_pk if principal else None,
                    facts.get("dialect", ""),
                    str(facts.get("model", ""))[:200],
                    facts.get("node", ""),
                    bool(facts.get("stream")),
                    exchange.status or 499,
                    facts.get("finish_reason", ""),
                    str(facts.get("code") or facts.get("error") or "")[:40],
                ),
                (facts.get("first_token_ms"), round((now_s - exchange.started_s) * 1000)),
            )
        )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_PERIOD_S)
            now_s = time.monotonic()
            complete = [record for record in self._waiting if record.is_complete(now_s)]
            try:
                await self._write(complete)
            except (Error, OSError, TimeoutError) as fault:
                log.debug("records_wait", records=len(complete), reason=str(fault))

    async def _write(self, records: list[_Record]) -> None:
        if not records:
            return
        async with asyncio.timeout(WRITE_LIMIT_S):
            connection = await AsyncConnection.connect(self._url, connect_timeout=2)
            async with connection, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                for record in records:
                    await copy.write_row(record.row)
        written = set(map(id, records))
        self._waiting = deque((r for r in self._waiting if id(r) not in written), maxlen=MOST_WAITING)
