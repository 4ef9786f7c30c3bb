"""A year of entries in the database of the settings, and what people ask of it over `/api/`."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rich.console import Console

from accounts.keys import issue_key, parse_peppers
from accounts.models import Account, ApiKey, Entry
from accounts.rollups import sum_up_days

ACCOUNTS, KEYS_PER_ACCOUNT, MODELS = 20, 10, 5
#: Entries come in the order of their time, as they are written.
BATCHES = 50
ASKED = 5

_TENANTS = """
INSERT INTO accounts_account (id, name, is_house, created_at)
  SELECT 1000 + n, 'tenant ' || n, false, now() FROM generate_series(0, %(accounts)s - 1) n;
INSERT INTO accounts_apikey (id, account_id, key_id, pepper_id, digest, label, scope, allowed_models, created_at,
    is_bootstrap)
  SELECT 10000 + n, 1000 + n / %(keys)s, 'key_' || n, 1, decode(md5(n::text), 'hex'), '', 'inference', '{}', now(),
    false FROM generate_series(0, %(accounts)s * %(keys)s - 1) n;
"""

_ENTRIES = """
INSERT INTO accounts_entry (kind, at, debit_id, credit_id, key_id, reservation_id, tokens, nano_usd, prompt_tokens,
  completion_tokens, cached_tokens, reasoning_tokens, input_price, output_price, model, node, estimated, reason,
  author_name)
SELECT 'usage', %(start)s + n * %(step)s::interval, 1000 + k / %(keys)s,
  (SELECT id FROM accounts_account WHERE is_house), 10000 + k, gen_random_uuid(), 500, 700, 300, 200, 0, 0, 1000, 2000,
  'model ' || m, 'local', false, '', ''
FROM (SELECT n, floor(random() * %(accounts)s * %(keys)s)::int AS k, floor(random() * %(models)s)::int AS m
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) n) drawn
"""

_HOURS = """
INSERT INTO accounts_hourlyspend (hour, account_id, key_id, model, requests, prompt_tokens, completion_tokens, tokens,
  nano_usd)
SELECT date_trunc('hour', at, 'UTC'), debit_id, key_id, model, count(*), sum(prompt_tokens), sum(completion_tokens),
  sum(tokens), sum(nano_usd) FROM accounts_entry GROUP BY 1, 2, 3, 4
"""


def fill(entries: int, console: Console) -> datetime:
    """A year of entries that ends now, and their sums; returns its beginning."""
    start = datetime.now(UTC) - timedelta(days=365)
    numbers = {"accounts": ACCOUNTS, "keys": KEYS_PER_ACCOUNT, "models": MODELS, "start": start}
    with psycopg.connect(settings.DATABASE_URL, autocommit=True, cursor_factory=psycopg.ClientCursor) as books:
        books.execute(_TENANTS, numbers)
        for number in range(BATCHES):
            part = {"first": entries * number // BATCHES, "last": entries * (number + 1) // BATCHES - 1}
            books.execute(_ENTRIES, numbers | part | {"step": timedelta(days=365) / entries})
            console.print(f"{part['last'] + 1:,} entries", end="\r")
        books.execute(_HOURS)
        sum_up_days(datetime.now(UTC))
        books.execute("VACUUM ANALYZE")
    return start


def questions(start: datetime, request_id: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Addresses and their parameters, by what they are for."""
    year = {"from": start.isoformat()}
    then = start + timedelta(days=170)
    return {
        "a year of everybody, by month": ("/api/usage", {**year, "by": "month"}),
        "a year of everybody, by day": ("/api/usage", {**year, "by": "day"}),
        "a year of one account, by key": ("/api/usage", {**year, "by": "key", "account": 1003}),
        "a year of one account, by hour": ("/api/usage", {**year, "by": "hour", "account": 1003, "limit": 10_000}),
        "the newest entries of all": ("/api/entries", {}),
        "the newest entries of one account": ("/api/entries", {"account": 1003}),
        "the newest entries of one key": ("/api/entries", {"key": "key_42"}),
        "entries of one minute half a year ago": (
            "/api/entries",
            {"from": then.isoformat(), "to": (then + timedelta(minutes=1)).isoformat()},
        ),
        "what one request was billed": ("/api/entries", {"request_id": request_id}),
    }


def ask(start: datetime, console: Console) -> None:
    """Ask everything some times; print the median time, and the plans of the queries on ledger and roll-ups."""
    peppers = parse_peppers(settings.HELEXA_KEY_PEPPER)
    _, secret = issue_key(account=Account.objects.get(pk=1000), peppers=peppers, scope=ApiKey.Scope.OPERATOR)
    client = Client(headers={"authorization": f"Bearer {secret}"})
    for what, (path, parameters) in questions(start, Entry.objects.order_by("pk")[1_000].request_id).items():
        seconds = []
        for _ in range(ASKED):
            with CaptureQueriesContext(connection) as queries:
                begun_s = time.perf_counter()
                answer = client.get(path, parameters)
                seconds.append(time.perf_counter() - begun_s)
            assert answer.status_code == 200, answer.content
        console.print(f"\n{what}: {statistics.median(seconds) * 1000:.0f} ms, {len(answer.json()['results'])} rows")
        for query in queries.captured_queries:
            if 'FROM "accounts_entry"' in query["sql"] or 'spend" ' in query["sql"]:
                for line in plan(query["sql"]):
                    console.print("  " + line, markup=False)


def plan(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + sql)
        lines = [line for (line,) in cursor.fetchall()]
    return [line for line in lines if "->" in line or "Scan" in line or "Execution" in line]
