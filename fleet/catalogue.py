"""The catalogue as a gateway needs it: every profile, read in one small query on psycopg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

_PROFILES = "SELECT model_id, created_at, pinned_on FROM fleet_profile ORDER BY model_id"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    model_id: str
    created_s: int
    pinned_on: frozenset[str]


async def read_catalogue(connection: AsyncConnection[Any]) -> dict[str, CatalogueEntry]:
    cursor = await connection.execute(_PROFILES)
    return {
        model_id: CatalogueEntry(model_id, int(created_at.timestamp()), frozenset(pinned_on))
        for model_id, created_at, pinned_on in await cursor.fetchall()
    }
