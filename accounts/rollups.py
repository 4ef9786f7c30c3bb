"""Days that are over, summed up from their hours, so that a year of everybody's spend is a quick query."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction

#: An entry is in its hour when its transaction is over; transactions last seconds.
SETTLED_AFTER = timedelta(minutes=10)

_SUM_UP = """
INSERT INTO accounts_dailyspend (day, account_id, key_id, model, requests, prompt_tokens, completion_tokens, tokens,
  nano_usd)
SELECT (hour AT TIME ZONE 'UTC')::date, account_id, key_id, model, sum(requests), sum(prompt_tokens),
  sum(completion_tokens), sum(tokens), sum(nano_usd)
FROM accounts_hourlyspend
WHERE hour >= coalesce((SELECT (max(day) + 1)::timestamp AT TIME ZONE 'UTC' FROM accounts_dailyspend), '-infinity')
  AND hour < %s
GROUP BY 1, 2, 3, 4
ON CONFLICT (account_id, day, key_id, model) DO NOTHING
"""


def sum_up_days(now: datetime) -> int:
    """Sum up the days (UTC) that are over and were not summed up yet; how many rows that made."""
    today = (now - SETTLED_AFTER).replace(hour=0, minute=0, second=0, microsecond=0)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SUM_UP, [today])
        return int(cursor.rowcount)
