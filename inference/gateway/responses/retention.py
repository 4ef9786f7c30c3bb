"""Stored responses are kept as long as their account was told, and no longer."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

#: Deleted at a time: contents are large, and nobody should wait behind the statement.
MOST_AT_ONCE = 500

_PRUNE = """
DELETE FROM inference_storedresponse
WHERE id IN (SELECT id FROM inference_storedresponse WHERE expires_at <= %s ORDER BY expires_at LIMIT %s)
"""


def prune_responses(now: datetime) -> int:
    """Drop what has expired; how many there were."""
    pruned = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_PRUNE, [now, MOST_AT_ONCE])
            pruned += cursor.rowcount
            if cursor.rowcount < MOST_AT_ONCE:
                return pruned
