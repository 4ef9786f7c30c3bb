"""The books recomputed: what must always be true of budgets, reservations, entries, lines and roll-ups (DESIGN 1).

Each check is one set-based query that returns its differences as sentences, so that ten million entries are a matter of
seconds to a minute. All of them read one snapshot: bookings go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from accounts.models import Entry, Line, Reservation
from accounts.models.reservation import reservation_id_of
from accounts.money import Counts
from helexa.usd import format_usd

#: So many differences of one kind are told one by one.
MOST_TOLD = 200

#: Sorts and hashes of ten million rows should not spill in pieces of a few megabytes.
_WORK_MEMORY = "256MB"

CHECKS: dict[str, str] = {
    "spent is the sum of the lines of the current window": """
        SELECT format('Budget %s: spent is %s, but the lines of window %s add up to %s.',
            b.id, b.spent, b.window_number, coalesce(sum(l.amount), 0))
        FROM accounts_budget b
        LEFT JOIN accounts_line l ON l.budget_id = b.id AND l.window_number = b.window_number
        GROUP BY b.id HAVING b.spent <> coalesce(sum(l.amount), 0)
    """,
    "reserved is what open reservations hold": """
        SELECT format('Budget %s: reserved is %s, but open reservations hold %s.',
            coalesce(b.id, h.budget_id), coalesce(b.reserved, 0), coalesce(h.amount, 0))
        FROM accounts_budget b
        FULL JOIN (
            SELECT held.budget_id, sum(held.amount) AS amount
            FROM accounts_reservation r, unnest(r.budget_ids, r.held) AS held(budget_id, amount)
            WHERE r.state = 'open' GROUP BY held.budget_id
        ) h ON h.budget_id = b.id
        WHERE coalesce(b.reserved, 0) <> coalesce(h.amount, 0) OR b.id IS NULL
    """,
    "spent and reserved are within the cap": """
        SELECT format('Budget %s: %s spent and %s reserved are more than its cap of %s.', id, spent, reserved, cap)
        FROM accounts_budget WHERE spent + reserved > cap
    """,
    "a settled reservation has an entry of usage": """
        SELECT format('Reservation %s is %s, but has no entry of usage.', r.id, r.state)
        FROM accounts_reservation r
        LEFT JOIN accounts_entry e ON e.reservation_id = r.id AND e.kind = 'usage'
        WHERE r.state IN ('settled', 'estimated') AND e.id IS NULL
    """,
    "a reservation has at most one entry of usage": """
        SELECT format('Reservation %s has %s entries of usage.', reservation_id, count(*))
        FROM accounts_entry WHERE kind = 'usage' GROUP BY reservation_id HAVING count(*) > 1
    """,
    "usage comes from a settled reservation and is within its grant": """
        SELECT CASE
            WHEN r.id IS NULL THEN format('Entry %s: its reservation %s is not there.', e.id, e.reservation_id)
            WHEN r.state NOT IN ('settled', 'estimated')
                THEN format('Entry %s: its reservation %s is %s.', e.id, r.id, r.state)
            ELSE format('Entry %s: %s tokens used, but reservation %s granted %s.', e.id, e.tokens, r.id, r.granted)
        END
        FROM accounts_entry e LEFT JOIN accounts_reservation r ON r.id = e.reservation_id
        WHERE e.kind = 'usage'
            AND (r.id IS NULL OR r.state NOT IN ('settled', 'estimated') OR e.tokens > r.granted)
    """,
    "usage is billed by its counts and prices, rounded up once": """
        SELECT format('Entry %s: %s tokens and %s nano-USD are billed, its counts and prices make %s and %s.',
            id, tokens, nano_usd, prompt_tokens + completion_tokens, cost)
        FROM (
            SELECT id, tokens, nano_usd, prompt_tokens, completion_tokens, coalesce(ceil((
                (prompt_tokens - cached_tokens)::numeric * input_price
                + cached_tokens::numeric * coalesce(cached_price, input_price)
                + (completion_tokens - reasoning_tokens)::numeric * output_price
                + reasoning_tokens::numeric * coalesce(reasoning_price, output_price)
            ) / 1000000), 0) AS cost
            FROM accounts_entry WHERE kind = 'usage'
        ) billed
        WHERE nano_usd <> cost OR tokens <> prompt_tokens + completion_tokens
    """,
    "lines say what their entry says": """
        SELECT CASE WHEN e.id IS NULL THEN format('Line %s: its entry %s is not there.', l.id, l.entry_id)
            ELSE format('Line %s: %s in budget %s, but its entry %s (%s) moved %s.', l.id, l.amount, l.budget_id, e.id,
                e.kind, CASE b.unit WHEN 'tokens' THEN e.tokens ELSE e.nano_usd END)
        END
        FROM accounts_line l
        LEFT JOIN accounts_entry e ON e.id = l.entry_id
        LEFT JOIN accounts_budget b ON b.id = l.budget_id
        WHERE e.id IS NULL OR b.id IS NULL OR CASE e.kind
            WHEN 'usage' THEN l.amount <> CASE b.unit WHEN 'tokens' THEN e.tokens ELSE e.nano_usd END
            WHEN 'correction' THEN l.amount <> CASE b.unit WHEN 'tokens' THEN e.tokens ELSE e.nano_usd END
            WHEN 'refund' THEN l.amount > 0 OR l.amount < CASE b.unit WHEN 'tokens' THEN e.tokens ELSE e.nano_usd END
            ELSE true
        END
    """,
    "usage has a line in every budget it was reserved in": """
        SELECT format('Entry %s: it has %s lines, its reservation holds in %s budgets.',
            e.id, coalesce(l.number, 0), cardinality(r.budget_ids))
        FROM accounts_entry e
        JOIN accounts_reservation r ON r.id = e.reservation_id
        LEFT JOIN (SELECT entry_id, count(*) AS number FROM accounts_line GROUP BY entry_id) l
            ON l.entry_id = e.id
        WHERE e.kind IN ('usage', 'correction') AND coalesce(l.number, 0) <> cardinality(r.budget_ids)
    """,
    "refunds are at most their entry": """
        SELECT format('Entry %s: refunds give back %s tokens and %s nano-USD of %s and %s.',
            r.refunds_id, -sum(r.tokens), -sum(r.nano_usd), e.tokens, e.nano_usd)
        FROM accounts_entry r LEFT JOIN accounts_entry e ON e.id = r.refunds_id AND e.kind = 'usage'
        WHERE r.refunds_id IS NOT NULL
        GROUP BY r.refunds_id, e.id
        HAVING e.id IS NULL OR -sum(r.tokens) > e.tokens OR -sum(r.nano_usd) > e.nano_usd
            OR max(r.tokens) > 0 OR max(r.nano_usd) > 0
    """,
    "hourly spend is the sum of the entries": """
        WITH entries AS (
            SELECT debit_id AS account_id, key_id, model, date_trunc('hour', at, 'UTC') AS hour,
                count(*) FILTER (WHERE kind = 'usage') AS requests, sum(prompt_tokens) AS prompt_tokens,
                sum(completion_tokens) AS completion_tokens, sum(tokens) AS tokens, sum(nano_usd) AS nano_usd
            FROM accounts_entry WHERE key_id IS NOT NULL AND kind IN ('usage', 'correction', 'refund')
            GROUP BY 1, 2, 3, 4
        )
        SELECT format('Hour %s of account %s, key %s, model %s: %s tokens and %s nano-USD in %s requests are summed up,'
            ' the entries make %s and %s in %s.', to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), account_id,
            key_id, model, coalesce(s.tokens, 0), coalesce(s.nano_usd, 0), coalesce(s.requests, 0),
            coalesce(e.tokens, 0), coalesce(e.nano_usd, 0), coalesce(e.requests, 0))
        FROM accounts_hourlyspend s FULL JOIN entries e USING (account_id, key_id, model, hour)
        WHERE (s.requests, s.prompt_tokens, s.completion_tokens, s.tokens, s.nano_usd)
            IS DISTINCT FROM (e.requests, e.prompt_tokens, e.completion_tokens, e.tokens, e.nano_usd)
    """,
    "daily spend is the sum of its hours": """
        WITH days AS (SELECT DISTINCT day FROM accounts_dailyspend),
        hours AS (
            SELECT account_id, key_id, model, (hour AT TIME ZONE 'UTC')::date AS day, sum(requests) AS requests,
                sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
                sum(tokens) AS tokens, sum(nano_usd) AS nano_usd
            FROM accounts_hourlyspend WHERE (hour AT TIME ZONE 'UTC')::date IN (SELECT day FROM days)
            GROUP BY 1, 2, 3, 4
        )
        SELECT format('Day %s of account %s, key %s, model %s: %s tokens and %s nano-USD are summed up,'
            ' its hours make %s and %s.', day, account_id, key_id, model, coalesce(d.tokens, 0),
            coalesce(d.nano_usd, 0), coalesce(h.tokens, 0), coalesce(h.nano_usd, 0))
        FROM accounts_dailyspend d FULL JOIN hours h USING (account_id, key_id, model, day)
        WHERE (d.requests, d.prompt_tokens, d.completion_tokens, d.tokens, d.nano_usd)
            IS DISTINCT FROM (h.requests, h.prompt_tokens, h.completion_tokens, h.tokens, h.nano_usd)
    """,
}


@dataclass(frozen=True)
class Audit:
    """What an audit read, and every difference as a sentence with ids. Open reservations are no differences."""

    budgets: int
    entries: int
    reservations_open: int
    differences: list[str]

    @property
    def ok(self) -> bool:
        return not self.differences


def audit() -> Audit:
    """Recompute everything from one snapshot. Takes no lock, so bookings never wait for it."""
    with _snapshot() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM accounts_budget), (SELECT count(*) FROM accounts_entry),"
            " (SELECT count(*) FROM accounts_reservation WHERE state = 'open')"
        )
        budgets, entries, reservations_open = cursor.fetchone()
        differences = [sentence for check, sql in CHECKS.items() for sentence in _differences(cursor, check, sql)]
    return Audit(budgets, entries, reservations_open, differences)


def _differences(cursor: CursorWrapper, check: str, sql: str) -> Iterator[str]:
    # A percent sign in the SQL is format()'s; without parameters psycopg leaves it alone.
    cursor.execute(f"{sql.strip()} LIMIT {MOST_TOLD + 1}")
    rows = cursor.fetchall()
    for (sentence,) in rows[:MOST_TOLD]:
        yield sentence
    if len(rows) > MOST_TOLD:
        yield f"There are more than these {MOST_TOLD} cases in which it does not hold that {check}."


@contextmanager
def _snapshot() -> Iterator[CursorWrapper]:
    """A cursor on one REPEATABLE READ snapshot, read only. Inside an open transaction it is that transaction's."""
    own = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if own:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET LOCAL work_mem = '{_WORK_MEMORY}'")
            cursor.execute("SET LOCAL statement_timeout = 0")
        yield cursor


def of_request(request_id: str) -> dict[str, Any] | None:
    """What was booked for one `x-request-id`, as a JSON document; None where the books do not know it.

    Counts and amounts are sums over what was billed: usage and corrections less refunds, without what overran.
    """
    reservation_id = reservation_id_of(request_id)
    reservation = Reservation.objects.filter(pk=reservation_id).first() if reservation_id else None
    if reservation is None:
        return None
    entries = list(Entry.objects.filter(reservation=reservation).order_by("id"))
    billed = [entry for entry in entries if entry.kind != Entry.Kind.OVERRUN]
    nano_usd = sum(entry.nano_usd for entry in billed)
    return {
        "request_id": reservation.request_id,
        "state": reservation.state,
        "tokens": sum(entry.tokens for entry in billed),
        "nano_usd": nano_usd,
        "usd": format_usd(nano_usd),
        "counts": {name: sum(getattr(entry, name) for entry in billed) for name in Counts.__struct_fields__},
        "estimated": any(entry.estimated for entry in entries),
        "reservation": _reservation(reservation),
        "entries": [_entry(entry) for entry in entries],
    }


def _reservation(reservation: Reservation) -> dict[str, Any]:
    held = zip(reservation.budget_ids, reservation.held, strict=True)
    return {
        "id": str(reservation.pk),
        "account": reservation.account.name,
        "key_id": reservation.key.key_id,
        "model": reservation.model,
        "node": reservation.node,
        "gateway": reservation.gateway,
        "granted": reservation.granted,
        "held": [{"budget": budget, "amount": amount} for budget, amount in held],
        "prices": _prices(reservation),
        "created_at": reservation.created_at.isoformat(),
        "closed_at": reservation.closed_at.isoformat() if reservation.closed_at else None,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    lines = Line.objects.filter(entry=entry).order_by("budget_id")
    return {
        "id": entry.pk,
        "kind": entry.kind,
        "at": entry.at.isoformat(),
        "tokens": entry.tokens,
        "nano_usd": entry.nano_usd,
        **{name: getattr(entry, name) for name in Counts.__struct_fields__},
        "prices": _prices(entry),
        "model": entry.model,
        "node": entry.node,
        "estimated": entry.estimated,
        "reason": entry.reason,
        "lines": [{"budget": li.budget_id, "window": li.window_number, "amount": li.amount} for li in lines],
    }


def _prices(row: Reservation | Entry) -> dict[str, int | None] | None:
    """Nano-USD per 1M tokens; None where the model had no price."""
    if row.input_price is None:
        return None
    return {name: getattr(row, f"{name}_price") for name in ("input", "output", "cached", "reasoning")}
