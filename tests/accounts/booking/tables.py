"""Accounts, keys and budgets made by plain SQL, for tests whose gateways have connections of their own."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg


class Tables:
    """Rows as a test wants them, committed at once, and what has become of them."""

    def __init__(self, database_url: str) -> None:
        self.connection = psycopg.connect(database_url, autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def all(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.encode(), parameters).fetchall()

    def value(self, sql: str, *parameters: Any) -> Any:
        ((value,),) = self.all(sql, *parameters)
        return value

    def new_account(self) -> int:
        return self.value(
            "INSERT INTO accounts_account (name, is_house, created_at) VALUES (%s, false, now()) RETURNING id",
            uuid4().hex,
        )

    def new_key(self, account: int) -> int:
        return self.value(
            "INSERT INTO accounts_apikey (account_id, key_id, pepper_id, digest, label, scope, allowed_models, "
            "created_at, is_bootstrap) VALUES (%s, %s, 1, %s, '', 'inference', '{}', now(), false) RETURNING id",
            account,
            uuid4().hex[:20],
            uuid4().bytes,
        )

    def new_budget(
        self,
        cap: int | None,
        *,
        account: int | None = None,
        key: int | None = None,
        unit: str = "tokens",
        window: str = "balance",
        seconds: int | None = None,
        zone: str = "UTC",
    ) -> int:
        return self.value(
            'INSERT INTO accounts_budget (account_id, key_id, unit, cap, "window", window_seconds, time_zone, '
            "window_number, spent, reserved, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, 1, 0, 0, now()) "
            "RETURNING id",
            account,
            key,
            unit,
            cap,
            window,
            seconds,
            zone,
        )

    def counters(self, budget: int) -> tuple[int, int]:
        """What is spent and what is reserved."""
        ((spent, reserved),) = self.all("SELECT spent, reserved FROM accounts_budget WHERE id = %s", budget)
        return spent, reserved
