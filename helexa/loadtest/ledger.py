"""How many requests a second one booking loop reserves and settles, with all that a gateway writes for each of them.

On one account that every request meets, and spread over ACCOUNTS; keys and accounts are capped. `SELECT 1` on the same
kind of connection says what the server and the network alone allow.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import msgspec
import psycopg

from accounts.booking.loop import BookingLoop
from accounts.booking.operations import Closed, Granted, Need, Reserve, Settle
from accounts.money import Counts, Prices
from helexa.loadtest.round import percentile_ms
from inference.gateway.exchange import new_id

ACCOUNTS = 1000
KEYS_PER_ACCOUNT = 4
PRICES = Prices(input=10**9, output=2 * 10**9)
#: Never counted: statements are prepared, pages are touched for the first time.
WARM_UP_S = 0.3
SELECTS = 500


class Figures(msgspec.Struct, frozen=True):
    """Of one kind of load. A pair is a reserve and its settle; the times are of a reserve alone."""

    accounts: int
    clients: int
    pairs_per_second: float
    reserve_p50_ms: float | None
    reserve_p99_ms: float | None


class Result(msgspec.Struct, frozen=True):
    select_1_per_second: float
    #: What the server says of durability; figures without it are worth nothing.
    fsync: str
    synchronous_commit: str
    figures: list[Figures]
    #: Budgets whose counters are not the sums of their lines; requests that were not billed once.
    faults: int


#: Accounts, their keys, and a cap for each that nobody reaches.
_FILL = f"""
WITH a AS (
  INSERT INTO accounts_account (name, is_house, created_at) SELECT 'load ' || n, false, now()
  FROM generate_series(1, {ACCOUNTS}) n RETURNING id
), k AS (
  INSERT INTO accounts_apikey (account_id, key_id, pepper_id, digest, label, scope, allowed_models, created_at,
    is_bootstrap)
  SELECT id, id || '/' || n, 1, sha256((id || '/' || n)::bytea), '', 'inference', '{{}}', now(), false
  FROM a, generate_series(1, {KEYS_PER_ACCOUNT}) n RETURNING id
)
INSERT INTO accounts_budget (account_id, key_id, unit, cap, "window", time_zone, window_number, spent, reserved,
  created_at)
SELECT account, key, 'tokens', 10^15, 'balance', 'UTC', 1, 0, 0, now()
FROM (SELECT id AS account, NULL::bigint AS key FROM a UNION ALL SELECT NULL, id FROM k) owners
"""  # noqa: S608
_FAULTS = """
SELECT (SELECT count(*) FROM accounts_budget b WHERE reserved <> 0 OR spent <> (
    SELECT coalesce(sum(amount), 0) FROM accounts_line l WHERE l.budget_id = b.id
  )) + (SELECT count(*) FROM accounts_reservation WHERE state <> 'settled')
  + abs((SELECT count(*) FROM accounts_reservation) - (SELECT count(*) FROM accounts_entry))
"""


def measure(database_url: str, *, clients: Sequence[int], seconds: float) -> Result:
    """Fill an empty, migrated database and measure on it; a line per kind of load goes to stderr."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_FILL)
        connection.execute("VACUUM ANALYZE")
        keys = _keys_by_account(connection)
        selects = asyncio.run(_select_1(database_url))
        figures = []
        for accounts in (1, ACCOUNTS):
            for number in clients:
                figures.append(asyncio.run(_round(database_url, keys[:accounts], number, seconds)))
                where = "one account" if accounts == 1 else f"{accounts} accounts"
                print(f"{number} at once, {where}, pairs/s: {figures[-1].pairs_per_second:g}", file=sys.stderr)
        return Result(
            select_1_per_second=selects,
            fsync=_value(connection, "SHOW fsync"),
            synchronous_commit=_value(connection, "SHOW synchronous_commit"),
            figures=figures,
            faults=_value(connection, _FAULTS),
        )


def _value(connection: psycopg.Connection, statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def _keys_by_account(connection: psycopg.Connection) -> list[tuple[int, list[int]]]:
    return connection.execute(
        "SELECT account_id, array_agg(id) FROM accounts_apikey GROUP BY account_id ORDER BY account_id"
    ).fetchall()


async def _select_1(database_url: str) -> float:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True, prepare_threshold=1) as connection:
        begun_s = perf_counter()
        for _ in range(SELECTS):
            await (await connection.execute("SELECT 1")).fetchone()
        return round(SELECTS / (perf_counter() - begun_s), 1)


async def _round(database_url: str, keys: list[tuple[int, list[int]]], clients: int, seconds: float) -> Figures:
    loop = BookingLoop(database_url)
    loop.start()
    begun_s = perf_counter() + WARM_UP_S
    until_s = begun_s + seconds
    reserves_s: list[float] = []
    pairs = 0

    async def client(number: int) -> None:
        nonlocal pairs
        chance = random.Random(number)  # noqa: S311  # not for secrets
        while (asked_s := perf_counter()) < until_s:
            account, of_account = chance.choice(keys)
            reserve = _reserve(account, chance.choice(of_account), completion=chance.randrange(50, 900))
            granted = await loop.reserve(reserve)
            assert isinstance(granted, Granted), granted
            waited_s = perf_counter() - asked_s
            closed = await loop.close(
                Settle(reserve.id, Counts(20, chance.randrange(50)), granted.budget_ids, node="local")
            )
            assert isinstance(closed, Closed), closed
            if asked_s >= begun_s:
                reserves_s.append(waited_s)
                pairs += perf_counter() < until_s

    await asyncio.gather(*[client(number) for number in range(clients)])
    await loop.stop()
    reserves_s.sort()
    return Figures(
        accounts=len(keys),
        clients=clients,
        pairs_per_second=round(pairs / seconds, 1),
        reserve_p50_ms=percentile_ms(reserves_s, 0.5),
        reserve_p99_ms=percentile_ms(reserves_s, 0.99),
    )


def _reserve(account: int, key: int, *, completion: int) -> Reserve:
    return Reserve(
        id=new_id(),
        account_id=account,
        key_id=key,
        gateway="loadtest",
        model="model",
        node="local",
        need=Need(20, completion),
        prices=PRICES,
    )
