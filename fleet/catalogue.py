"""The catalogue as a gateway needs it: every profile, read in one small query on psycopg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

_PROFILES = """
SELECT model_id, created_at, pinned_on, input_price, output_price, cached_price, reasoning_price
FROM fleet_profile ORDER BY model_id
"""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that may be asked for. Prices are nano-USD per 1M tokens, None where none is set."""

    model_id: str
    created_s: int
    pinned_on: frozenset[str]
    input_price: int | None = None
    output_price: int | None = None
    cached_price: int | None = None
    reasoning_price: int | None = None


async def read_catalogue(connection: AsyncConnection[Any]) -> dict[str, CatalogueEntry]:
    cursor = await connection.execute(_PROFILES)
    return {
        model_id: CatalogueEntry(model_id, int(created_at.timestamp()), frozenset(pinned_on), *prices)
        for model_id, created_at, pinned_on, *prices in await cursor.fetchall()
    }
