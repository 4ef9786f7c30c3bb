"""The books as PostgreSQL has them, read beside a running helexa: what the proofs hold clients' words against."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

_OVERFULL = "SELECT id, unit, cap, spent, reserved FROM accounts_budget WHERE spent + reserved > cap"
_FULLEST = "SELECT id, (spent + reserved)::float / cap FROM accounts_budget WHERE cap > 0"
#: How far the lines of any window add up to more than the cap that the window had: caps do not change in a proof.
_OVERSHOOT = """
SELECT b.id, l.window_number, sum(l.amount)::bigint, b.cap
FROM accounts_line l JOIN accounts_budget b ON b.id = l.budget_id
WHERE b.cap IS NOT NULL GROUP BY b.id, l.window_number, b.cap HAVING sum(l.amount) > b.cap
"""
_TURNED_OVER = """
SELECT count(*) FROM (SELECT DISTINCT l.budget_id, l.window_number FROM accounts_line l
  JOIN accounts_budget b ON b.id = l.budget_id WHERE b.window = 'rolling') windows
"""
_BOOKED = """
SELECT r.id, k.key_id, r.state, r.granted, count(e.id) FILTER (WHERE e.kind = 'usage'),
  coalesce(sum(e.prompt_tokens), 0)::bigint, coalesce(sum(e.completion_tokens), 0)::bigint,
  coalesce(sum(e.tokens), 0)::bigint, coalesce(sum(e.nano_usd), 0)::bigint,
  coalesce(ceil(
    (sum(e.prompt_tokens) * r.input_price + sum(e.completion_tokens) * r.output_price) / 1000000
  ), 0)::bigint
FROM accounts_reservation r JOIN accounts_apikey k ON k.id = r.key_id
LEFT JOIN accounts_entry e ON e.reservation_id = r.id AND e.kind <> 'overrun'
WHERE r.created_at >= %s GROUP BY r.id, k.key_id
"""


@dataclass(frozen=True)
class Booked:
    """What the ledger has of one request: sums over its entries. `cost` is what its counts and its prices make."""

    key_id: str
    state: str
    granted: int
    usage_entries: int
    prompt_tokens: int
    completion_tokens: int
    tokens: int
    nano_usd: int
    cost: int


class Ledger:
    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(sql.encode(), parameters or None).fetchall()

    def now(self) -> datetime:
        ((now,),) = self._rows("SELECT clock_timestamp()")
        moment: datetime = now
        return moment

    def open_reservations(self) -> int:
        return int(self._rows("SELECT count(*) FROM accounts_reservation WHERE state = 'open'")[0][0])

    def overshoot(self) -> list[str]:
        return [
            f"Budget {budget}: its lines in window {window} add up to {amount}, its cap is {cap}."
            for budget, window, amount, cap in self._rows(_OVERSHOOT)
        ]

    def windows_used(self) -> int:
        """How many windows of rolling budgets something was spent in."""
        return int(self._rows(_TURNED_OVER)[0][0])

    def booked(self, since: datetime) -> dict[UUID, Booked]:
        """By reservation, which has the number of its `x-request-id`."""
        return {row[0]: Booked(*row[1:]) for row in self._rows(_BOOKED, since)}


class Sampler:
    """Looks at every budget again and again while a round runs, on a connection and a thread of its own."""

    PERIOD_S = 0.02

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.samples = 0
        self.overfull: list[str] = []
        #: How full each budget was at the fullest moment that was seen, 1 being its cap.
        self.fullest: dict[int, float] = {}

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._ended.wait(self.PERIOD_S):
                self.overfull += _sentences(connection.execute(_OVERFULL).fetchall())
                for budget, share in connection.execute(_FULLEST).fetchall():
                    self.fullest[budget] = max(share, self.fullest.get(budget, 0.0))
                self.samples += 1


def _sentences(rows: Iterable[tuple[Any, ...]]) -> list[str]:
    return [
        f"Budget {budget}: {spent} {unit} spent and {reserved} reserved are more than its cap of {cap}."
        for budget, unit, cap, spent, reserved in rows
    ]
