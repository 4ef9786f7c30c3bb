"""Who a secret belongs to and whether it may be used now: the gateway's view of accounts, on psycopg.

A gateway keeps what it learnt for speed and re-reads the state of all of it every second, so that revoking, expiring
and suspending work everywhere within two seconds (issue 3). The ORM would run on one shared thread there.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection

_PRINCIPALS = """
SELECT k.digest, k.id, k.key_id, a.id, a.name, k.scope, k.allowed_models, k.expires_at,
       k.revoked_at IS NULL AND a.suspended_at IS NULL AND a.closed_at IS NULL
         AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
FROM accounts_apikey k JOIN accounts_account a ON a.id = k.account_id
WHERE k.digest = ANY(%s)
"""

_TOUCH = """
UPDATE accounts_apikey k SET last_used_at = greatest(k.last_used_at, used.at)
FROM unnest(%s::bigint[], %s::timestamptz[]) AS used(id, at) WHERE k.id = used.id
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """The account and key a request is for. `allowed_models` empty means every model."""

    key_pk: int
    key_id: str
    account_pk: int
    account: str
    scope: str
    allowed_models: frozenset[str]
    expires_at_s: float | None
    active: bool

    def may_use(self, model_id: str) -> bool:
        return not self.allowed_models or model_id in self.allowed_models

    def valid_at(self, now_s: float) -> bool:
        """Whether the key opens anything now; an expiry needs no new look at the database."""
        return self.active and (self.expires_at_s is None or now_s < self.expires_at_s)

    @property
    def valid(self) -> bool:
        return self.valid_at(time.time())


async def find_principals(connection: AsyncConnection[Any], digests: Collection[bytes]) -> dict[bytes, Principal]:
    """The principals of these digests by digest, as the database knows them now, whatever their state."""
    if not digests:
        return {}
    cursor = await connection.execute(_PRINCIPALS, [list(digests)])
    return {
        bytes(digest): Principal(
            key_pk=key_pk,
            key_id=key_id,
            account_pk=account_pk,
            account=account,
            scope=scope,
            allowed_models=frozenset(allowed),
            expires_at_s=expires_at.timestamp() if expires_at else None,
            active=active,
        )
        for digest, key_pk, key_id, account_pk, account, scope, allowed, expires_at, active in await cursor.fetchall()
    }


async def touch_keys(connection: AsyncConnection[Any], last_used_s: Mapping[int, float]) -> None:
    """Write down when keys were last used (key primary key to seconds since the epoch)."""
    if last_used_s:
        times = [datetime.fromtimestamp(at, UTC) for at in last_used_s.values()]
        await connection.execute(_TOUCH, [list(last_used_s), times])
