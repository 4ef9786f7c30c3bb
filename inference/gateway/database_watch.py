"""The gateway's eye on PostgreSQL: re-reads keys and catalogue every second, and knows at once when it is gone."""

from __future__ import annotations

import asyncio
import time

import structlog
from psycopg import AsyncConnection, Error

from fleet.catalogue import read_catalogue
from inference.gateway.books import Books
from inference.gateway.fleet_view import FleetView
from inference.gateway.principals import Principals

log = structlog.get_logger(__name__)

#: How old what a gateway knows of keys and catalogue may get: half of the two seconds a revocation may take.
REFRESH_PERIOD_S = 1.0
#: A refresh slower than this counts as an outage: money and keys fail closed.
REFRESH_LIMIT_S = 2.0
RECONNECT_PERIOD_S = 0.2
#: How often reservations are looked for that this gateway has forgotten.
SWEEP_PERIOD_S = 10.0


class DatabaseWatch:
    """One connection for the life of the gateway; `away_since_s` is None while PostgreSQL answers."""

    def __init__(self, database_url: str, *, principals: Principals, fleet: FleetView, books: Books) -> None:
        self._url = database_url
        self._principals = principals
        self._fleet = fleet
        self._books = books
        self._sweep_due_s = time.monotonic() + SWEEP_PERIOD_S
        self._task: asyncio.Task[None] | None = None
        self.away_since_s: float | None = time.monotonic()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="database-watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                connection = await AsyncConnection.connect(self._url, autocommit=True, connect_timeout=2)
                async with connection:
                    while True:
                        await self._refresh(connection)
                        # Waits on the socket, so a server that dies is noticed now and not at the next refresh.
                        async for _ in connection.notifies(timeout=REFRESH_PERIOD_S):
                            pass
            except (Error, TimeoutError, OSError) as fault:
                self._note_outage(fault)
            except Exception as fault:
                log.exception("database_watch_fault")
                self._note_outage(fault)
            await asyncio.sleep(RECONNECT_PERIOD_S)

    async def _refresh(self, connection: AsyncConnection[object]) -> None:
        async with asyncio.timeout(REFRESH_LIMIT_S):
            await self._principals.refresh(connection)
            self._fleet.catalogue = await read_catalogue(connection)
            if time.monotonic() >= self._sweep_due_s:
                self._sweep_due_s = time.monotonic() + SWEEP_PERIOD_S
                await self._books.sweep(connection)
        self._principals.available = True
        if self.away_since_s is not None:
            log.info("database_answers", away_s=round(time.monotonic() - self.away_since_s, 1))
            self.away_since_s = None

    def _note_outage(self, fault: BaseException) -> None:
        self._principals.available = False
        if self.away_since_s is None:
            self.away_since_s = time.monotonic()
            log.error("database_away", reason=str(fault))
