"""A gateway's connection for bookings: its statements are prepared once, and those of a round trip are one message.

psycopg's pipeline goes to the event loop and back after each statement, which took a quarter of a batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from psycopg import AsyncConnection, pq

from accounts.booking.statements import Statement

_PLACE = re.compile("%s")


class Session:
    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self.connection = connection
        self._names: dict[str, str] = {}
        self._escaping = pq.Escaping(connection.pgconn)

    async def run(self, *parts: str | Statement) -> list[list[tuple[Any, ...]]]:
        """Send statements together, those without parameters as they are; the rows of each that has some.

        Raises psycopg.Error at the first one that fails; those behind it are not carried out.
        """
        for part in parts:
            if not isinstance(part, str) and part[0] not in self._names:
                await self._prepare(part[0])
        message = ";".join(part if isinstance(part, str) else self._call(*part) for part in parts)
        cursor = await self.connection.execute(message.encode())
        results = []
        more: bool | None = True
        while more:
            if cursor.description is not None:
                results.append(await cursor.fetchall())
            more = cursor.nextset()
        return results

    async def _prepare(self, statement: str) -> None:
        name, numbers = f"booking_{len(self._names)}", count(1)
        text = _PLACE.sub(lambda _: f"${next(numbers)}", statement)
        await self.connection.execute(f"PREPARE {name} AS {text}".encode())
        self._names[statement] = name

    def _call(self, statement: str, parameters: Sequence[Any]) -> str:
        values = ",".join([self._literal(parameter) for parameter in parameters])
        return f"EXECUTE {self._names[statement]}({values})"

    def _literal(self, value: Any) -> str:
        """Numbers, moments and text, which most are arrays in (psycopg's `sql.quote` takes five times as long)."""
        return str(value) if type(value) is int else self._escaping.escape_literal(str(value).encode()).decode()
