"""Request records are no money: they go when they are old enough. Ledger entries never do."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

#: Deleted at a time: a short statement, so that nobody waits behind it.
MOST_AT_ONCE = 5000

_PRUNE = """
DELETE FROM accounts_requestrecord
WHERE id IN (SELECT id FROM accounts_requestrecord WHERE at < %s ORDER BY at LIMIT %s)
"""


def prune_request_records(before: datetime) -> int:
    """Drop the records of requests that came before that moment; how many there were."""
    pruned = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_PRUNE, [before, MOST_AT_ONCE])
            pruned += cursor.rowcount
            if cursor.rowcount < MOST_AT_ONCE:
                return pruned
