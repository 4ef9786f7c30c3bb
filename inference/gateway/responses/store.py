"""Stored responses in PostgreSQL, by psycopg: the ORM would read and write them on one thread for the whole process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from psycopg import Error, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.booking.loop import OUTAGE
from inference.refusals import Refusal, invalid, unavailable

log = structlog.get_logger(__name__)

#: The end of an answer waits so long for being stored; after that it leaves, and is stored when PostgreSQL answers.
SAVE_LIMIT_S = 2.0
#: Whoever reads waits so long, then is told that PostgreSQL does not answer.
READ_LIMIT_S = 3.0
RETRY_PERIOD_S = 0.2
#: Responses that wait for a database that is away; further ones are lost, and logged.
MOST_WAITING = 1000
#: The most bytes of stored responses that one request may refer to: they are all in memory, some of them twice.
MOST_RECALLED_BYTES = 64 * 1024 * 1024
#: How long a gateway that stops waits for what is not stored yet.
STOP_LIMIT_S = 5.0
#: How long a background response with `store: false` can be fetched.
FETCH_TIME = timedelta(hours=1)

_INSERT = """
INSERT INTO inference_storedresponse (id, account_id, previous, model, status, background, continuable, gateway,
  response, input, size_bytes, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO NOTHING
"""
_UPDATE = """
UPDATE inference_storedresponse SET status = %s, response = %s, size_bytes = octet_length(input) + %s
WHERE id = %s AND status IN ('queued', 'in_progress')
"""
# of what is too much at once only the rest of the row is read
_WITHIN = "sum(size_bytes) OVER () <= %(most)s"
_COLUMNS = f"""id, previous, status, background, continuable, gateway,
  CASE WHEN {_WITHIN} THEN response ELSE '' END, CASE WHEN {_WITHIN} THEN input ELSE '' END"""
_FIND = f"""
SELECT {_COLUMNS} FROM inference_storedresponse
WHERE id = ANY(%(ids)s) AND account_id = %(account)s AND expires_at > clock_timestamp()
"""  # noqa: S608 - columns of ours
_CHAIN = f"""
WITH RECURSIVE chain AS (
  SELECT 0 AS depth, id, previous AS parent FROM inference_storedresponse
  WHERE id = %(id)s AND account_id = %(account)s AND continuable AND expires_at > clock_timestamp()
UNION ALL
  SELECT depth + 1, r.id, r.previous FROM chain JOIN inference_storedresponse r ON r.id = chain.parent
  WHERE r.account_id = %(account)s AND r.continuable AND r.expires_at > clock_timestamp()
)
SELECT {_COLUMNS} FROM chain JOIN inference_storedresponse USING (id) ORDER BY depth DESC
"""  # noqa: S608
_IS_THERE = "SELECT EXISTS (SELECT 1 FROM inference_storedresponse WHERE id = %s)"
_REMOVE = "DELETE FROM inference_storedresponse WHERE id = %s"
_DELETE = """
DELETE FROM inference_storedresponse
WHERE id = %s AND account_id = %s AND expires_at > clock_timestamp() RETURNING status, gateway
"""


class Stored(NamedTuple):
    """A row, as it is read."""

    id: UUID
    previous: UUID | None
    status: str
    background: bool
    continuable: bool
    gateway: str
    response: bytes
    input: bytes

    @property
    def running(self) -> bool:
        return self.status in ("queued", "in_progress")


@dataclass(frozen=True, slots=True)
class NewResponse:
    """A row, as it is written."""

    id: UUID
    account_pk: int
    previous: UUID | None
    model: str
    status: str
    response: bytes
    input: bytes
    created_s: int
    background: bool = False
    continuable: bool = True
    gateway: str = ""


class ResponseStore:
    """`max_bytes` bounds what a response holds in its input, `days` how long it is kept."""

    def __init__(
        self, database_url: str, *, days: int, max_bytes: int, most_recalled_bytes: int = MOST_RECALLED_BYTES
    ) -> None:
        self.max_bytes = max_bytes
        self.most_recalled_bytes = most_recalled_bytes
        self._kept_for = timedelta(days=days)
        self._pool = AsyncConnectionPool(
            database_url,
            min_size=0,
            max_size=4,
            timeout=READ_LIMIT_S,
            open=False,
            kwargs={"autocommit": True, "connect_timeout": 2, "options": "-c statement_timeout=10000"},
            check=AsyncConnectionPool.check_connection,
        )
        self._saving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._pool.open()

    async def stop(self) -> None:
        """Store what waits, if the database answers."""
        if self._saving:
            _, lost = await asyncio.wait(self._saving, timeout=STOP_LIMIT_S)
            for task in lost:
                task.cancel()
        await self._pool.close(timeout=1)

    # -- writing ---------------------------------------------------------------------------------

    async def save_in_time(self, row: NewResponse) -> None:
        """Store a response that has ended, before its last bytes leave if the database is quick."""
        task = self.save_later(row)
        if task is not None:
            await asyncio.wait([task], timeout=SAVE_LIMIT_S)

    def save_later(self, row: NewResponse) -> asyncio.Task[None] | None:
        """Store it in a task of its own, tried until the database answers. Safe to call while being cancelled."""
        if len(self._saving) >= MOST_WAITING:
            log.error("response_not_stored", response=row.id.hex, reason="too many wait for PostgreSQL")
            return None
        return self.spawn(self._save(row))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what ends in a save that nobody waits for; `stop` does."""
        task = asyncio.create_task(work, name="store-response")
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        return task

    async def _save(self, row: NewResponse) -> None:
        while True:
            try:
                await self._execute(_INSERT, self._values(row))
                return
            except (*OUTAGE, PoolTimeout):
                await asyncio.sleep(RETRY_PERIOD_S)
            except Error:
                log.exception("response_not_stored", response=row.id.hex)
                return

    async def insert(self, row: NewResponse) -> None:
        """Store a response that begins. Raises Refusal (503) where the database does not answer."""
        await self._ask(_INSERT, self._values(row))

    async def update(self, response: UUID, status: str, body: bytes) -> bool:
        """Step on a response that runs, however long the database takes; false if somebody has ended or deleted it."""
        while True:
            try:
                return await self._execute(_UPDATE, (status, body, len(body), response)) == 1
            except (*OUTAGE, PoolTimeout):
                await asyncio.sleep(RETRY_PERIOD_S)

    async def remove(self, response: UUID) -> None:
        """Take back a response that never began, however long the database takes."""
        while True:
            try:
                await self._execute(_REMOVE, (response,))
                return
            except (*OUTAGE, PoolTimeout):
                await asyncio.sleep(RETRY_PERIOD_S)

    async def is_there(self, response: UUID) -> bool:
        """Whether nobody has deleted it. Raises Refusal (503)."""
        ((there,),) = await self._ask(_IS_THERE, (response,))
        return bool(there)

    async def update_in_time(self, response: UUID, status: str, body: bytes) -> None:
        """The same for a step that nobody has to see: left out if the database does not answer."""
        with contextlib.suppress(*OUTAGE, PoolTimeout):
            await self._execute(_UPDATE, (status, body, len(body), response))

    def _values(self, row: NewResponse) -> tuple[Any, ...]:
        created = datetime.fromtimestamp(row.created_s, UTC)
        return (
            *(row.id, row.account_pk, row.previous, row.model, row.status, row.background, row.continuable),
            *(row.gateway, row.response, row.input, len(row.response) + len(row.input), created),
            created + (self._kept_for if row.continuable else FETCH_TIME),
        )

    async def _execute(self, statement: str, values: tuple[Any, ...]) -> int:
        async with self._pool.connection() as connection:
            return (await connection.execute(statement.encode(), values)).rowcount

    # -- reading ---------------------------------------------------------------------------------

    async def find(self, response: UUID, account_pk: int) -> Stored | None:
        """A response of that account. Raises Refusal (503), as all that follow."""
        return next(iter(await self.find_all([response], account_pk)), None)

    async def find_all(self, responses: Collection[UUID], account_pk: int) -> list[Stored]:
        """Raises Refusal (400) too, where they are too much at once."""
        return await self._read("input", _FIND, ids=list(responses), account=account_pk) if responses else []

    async def chain(self, response: UUID, account_pk: int) -> list[Stored]:
        """A response and all that it continues, the oldest first; empty if any of them is not there to be read.

        Raises Refusal (400) too, where they are too much at once.
        """
        rows = await self._read("previous_response_id", _CHAIN, id=response, account=account_pk)
        return rows if rows and rows[0].previous is None else []

    async def _read(self, param: str, statement: str, **values: object) -> list[Stored]:
        rows = [Stored(*row) for row in await self._ask(statement, {**values, "most": self.most_recalled_bytes})]
        if rows and not rows[0].response:
            raise self.too_much(param)
        return rows

    def too_much(self, param: str) -> Refusal:
        return invalid(f"`{param}` refers to more than {self.most_recalled_bytes} bytes of stored responses.", param)

    async def delete(self, response: UUID, account_pk: int) -> tuple[str, str] | None:
        """Delete a response; its status and gateway, None where there was none."""
        return next(iter(await self._ask(_DELETE, (response, account_pk))), None)

    async def _ask(self, statement: str, values: Any) -> list[Any]:
        try:
            async with asyncio.timeout(READ_LIMIT_S), self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), values)
                return await cursor.fetchall() if cursor.description else []
        except (OperationalError, PoolTimeout, TimeoutError) as fault:
            raise database_away() from fault


def database_away() -> Refusal:
    return unavailable("PostgreSQL does not answer, so stored responses cannot be reached.", retry_after_s=5)
