"""Usage: hours and rolled-up days add up to one answer, in pages, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Account, ApiKey, DailySpend, HourlySpend
from tests.api.conftest import World

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def hour(key: ApiKey, at: datetime, tokens: int, model: str = "tiny") -> None:
    HourlySpend.objects.create(account=key.account, key=key, hour=at, **_sums(tokens, model))


def day(key: ApiKey, at: date, tokens: int, model: str = "tiny") -> None:
    DailySpend.objects.create(account=key.account, key=key, day=at, **_sums(tokens, model))


def _sums(tokens: int, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "requests": 1,
        "prompt_tokens": tokens,
        "completion_tokens": 0,
        "tokens": tokens,
        "nano_usd": tokens * 1000,
    }


@pytest.fixture
def spent(world: World) -> Account:
    """Four days of chemistry: 8 and 9 March are rolled up (their hours still there), 10 and 11 are not."""
    mine, theirs = world.keys["member's key"].row, world.keys["colleague's key"].row
    for at, tokens in ((datetime(2026, 3, 8, 3, tzinfo=UTC), 1), (datetime(2026, 3, 9, 23, tzinfo=UTC), 2)):
        hour(mine, at, tokens)
        day(mine, at.date(), tokens)
    hour(theirs, NOON, 4)
    hour(mine, NOON, 8, "Other")
    hour(mine, NOON + timedelta(days=1), 16)
    foreign = world.keys["foreign inference key"].row
    hour(foreign, NOON, 1_000)
    day(foreign, date(2026, 3, 9), 1_000)
    return world.chemistry


def groups(world: World, query: str, who: str = "owner") -> dict[str, int]:
    answer = world.as_(who).get(f"/api/usage?{query}")
    assert answer.status_code == 200, answer.content
    return {row["group"]: row["tokens"] for row in answer.json()["results"]}


MARCH = "from=2026-03-01&to=2026-04-01"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"{MARCH}&by=day", {"2026-03-08": 1, "2026-03-09": 2, "2026-03-10": 12, "2026-03-11": 16}),
        (f"{MARCH}&by=month", {"2026-03": 31}),
        (f"{MARCH}&by=model", {"Other": 8, "tiny": 23}),
        (f"{MARCH}&by=hour", {"2026-03-08T03:00:00Z": 1, "2026-03-09T23:00:00Z": 2, "2026-03-10T12:00:00Z": 12,
                              "2026-03-11T12:00:00Z": 16}),
        ("from=2026-03-08T04:00&to=2026-03-10T12:00:00Z&by=month", {"2026-03": 2}),
        ("from=2026-03-08T03:30&to=2026-03-10T12:00:01Z&by=day", {"2026-03-08": 1, "2026-03-09": 2, "2026-03-10": 12}),
        ("from=2026-03-09&to=2026-03-10&by=day", {"2026-03-09": 2}),
        ("from=2026-03-09T01:00%2B02:00&to=2026-03-09T23:00Z&by=day", {}),
        ("from=2025-01-01&to=2025-02-01", {}),
    ],
)  # fmt: skip
def test_it_works(world: World, spent: Account, query: str, expected: dict[str, int]) -> None:
    assert groups(world, query) == expected
    assert groups(world, f"account={spent.pk}&{query}", "operator") == expected


def test_keys_are_told_apart_and_members_see_their_own(world: World, spent: Account) -> None:
    mine, theirs = (world.keys[name].row.key_id for name in ("member's key", "colleague's key"))
    assert groups(world, f"{MARCH}&by=key") == {mine: 27, theirs: 4}
    assert groups(world, f"{MARCH}&by=key", "member") == {mine: 27}
    assert groups(world, f"{MARCH}&by=month", "stranger") == {"2026-03": 2000}
    assert groups(world, f"{MARCH}&by=month", "operator") == {"2026-03": 2031}


@pytest.mark.parametrize("by", ["hour", "day", "key", "model"])
def test_pages_together_are_the_whole(world: World, spent: Account, by: str) -> None:
    whole = world.as_("owner").get(f"/api/usage?{MARCH}&by={by}").json()["results"]
    rows, url = [], f"/api/usage?{MARCH}&by={by}&limit=1"
    while url:
        page = world.as_("owner").get(url)
        rows += page.json()["results"]
        url = page.json()["next"]
        assert page.headers.get("Link") == (f'<{url}>; rel="next"' if url else None)
        assert len(rows) <= len(whole)
    assert rows == whole


def test_a_table_says_the_same(world: World, spent: Account) -> None:
    answer = world.as_("owner").get(f"/api/usage?{MARCH}&by=day&format=csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [(row["group"], row["tokens"], row["usd"]) for row in rows] == [
        ("2026-03-08", "1", "0.000001"), ("2026-03-09", "2", "0.000002"),
        ("2026-03-10", "12", "0.000012"), ("2026-03-11", "16", "0.000016"),
    ]  # fmt: skip
    assert world.as_("nobody").get("/api/usage?format=csv").status_code == 401


def test_what_is_spent_now_is_there_now(world: World) -> None:
    assert list(groups(world, "").values()) == [150]


@pytest.mark.parametrize(
    ("query", "field"),
    [("by=year", "by"), ("from=2026-03-02&to=2026-03-01", "to"), ("to=0001-01-01", "to"), ("limit=0", "limit"),
     ("limit=1000000", "limit"), ("by=hour&after=noon", "after"), ("by=model&after=%00", "after"),
     ("account=x", "account"),
     ("from=9999-12-31T23:59:59&to=9999-12-31T23:59:59.5", "from")],
)  # fmt: skip
def test_it_rejects_a_bad_query_with_a_sentence(world: World, query: str, field: str) -> None:
    answer = world.as_("owner").get(f"/api/usage?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
