"""The ledger over /api/: found by what a client knows, paged from the newest, given back with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Budget, Entry
from tests.accounts.booked import use
from tests.api.conftest import World

JSON: dict[str, Any] = {"content_type": "application/json"}


def test_it_works(world: World) -> None:
    (entry,) = world.as_("auditor").get(f"/api/entries?request_id={world.entry.request_id}").json()["results"]
    key = world.keys["colleague's key"].row
    caps = {unit: Budget.objects.get(unit=unit, **owner).pk for unit, owner in (
        ("tokens", {"account": world.chemistry}), ("nano_usd", {"key": key})
    )}  # fmt: skip
    assert entry.pop("at").endswith("Z")
    lines = entry.pop("lines")
    assert entry == {
        "id": world.entry.pk,
        "kind": "usage",
        "debit": "chemistry",
        "credit": "house",
        "key": key.key_id,
        "request_id": world.entry.request_id,
        "model": "tiny",
        "node": "local",
        "tokens": 150,
        "usd": "0.0002",
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "prices": {"input": "1.00", "output": "2.00", "cache_read": None, "reasoning": None},
        "estimated": False,
        "refunds": None,
        "budget": None,
        "reason": "",
        "author": "",
    }
    assert sorted(lines, key=lambda line: line["unit"]) == [
        {"budget": caps["tokens"], "unit": "tokens", "window_number": 1, "amount": 150},
        {"budget": caps["nano_usd"], "unit": "usd", "window_number": 1, "amount": "0.0002"},
    ]


def test_an_operator_gives_back_with_a_reason(world: World) -> None:
    url = f"/api/entries/{world.entry.pk}"
    operator = world.as_("operator")
    part = operator.post(f"{url}/refund", {"tokens": 30, "reason": "half an answer"}, **JSON)
    assert part.status_code == 201
    shown = part.json()
    assert (shown["kind"], shown["tokens"], shown["usd"], shown["refunds"]) == ("refund", -30, "0.00", world.entry.pk)
    assert (shown["reason"], shown["author"], shown["debit"]) == ("half an answer", "operator", "chemistry")
    assert Budget.objects.get(account=world.chemistry).spent == 120
    rest = world.as_("operator key").post(f"{url}/refund", {"reason": "the other half"}, **JSON).json()
    assert (rest["tokens"], rest["usd"]) == (-120, "-0.0002")
    assert rest["author"].startswith("key key_")
    assert operator.post(f"{url}/refund", {"reason": "again"}, **JSON).status_code == 400
    assert len(world.as_("owner").get(f"/api/entries?request_id={world.entry.request_id}").json()["results"]) == 3


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 10_000}, "reason"),
        ({"reason": "a\x07"}, "reason"),
        ({"reason": "more than was spent", "tokens": 151}, "tokens"),
        ({"reason": "more than was spent", "usd": "0.0003"}, "usd"),
        ({"reason": "negative", "tokens": -1}, "tokens"),
        ({"reason": "half a token", "tokens": 0.5}, "tokens"),
    ],
)
def test_it_rejects_a_bad_refund_with_a_sentence(world: World, sent: dict[str, Any], field: str) -> None:
    answer = world.as_("operator").post(f"/api/entries/{world.entry.pk}/refund", sent, **JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert not Entry.objects.filter(kind="refund").exists()


def test_filters(world: World) -> None:
    operator, key = world.as_("operator"), world.keys["colleague's key"].row
    operator.post(f"/api/entries/{world.entry.pk}/refund", {"reason": "broken"}, **JSON)
    at = world.entry.at.isoformat().replace("+00:00", "Z")

    def found(query: str) -> list[str]:
        return [entry["kind"] for entry in operator.get(f"/api/entries?{query}").json()["results"]]

    assert found("") == ["refund", "usage", "usage"]
    assert found(f"account={world.chemistry.pk}") == ["refund", "usage"]
    assert found(f"key={key.key_id}&kind=refund") == ["refund"]
    assert found(f"account={world.chemistry.pk}&from={at}&to=2100-01-01") == ["refund", "usage"]
    assert found(f"to={at}&account={world.chemistry.pk}") == []
    assert found("request_id=nothing-of-ours") == []


def test_pages_go_from_the_newest_to_the_oldest_and_none_is_missing(world: World) -> None:
    key = world.keys["member's key"].row
    written = [use(key, 1, 1).pk for _ in range(7)]
    member, seen = world.as_("member"), []
    url = "/api/entries?limit=3"
    while url:
        page = member.get(url).json()
        seen += [entry["id"] for entry in page["results"]]
        url = page["next"]
        if len(seen) == 3:
            written.append(use(key, 1, 1).pk)  # what comes while somebody reads moves no page
    assert seen == sorted(written[:7], reverse=True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("request_id=%00", "request_id"),
        ("account=x", "account"),
        ("account=99999999999999999999", "account"),
        ("kind=gift", "kind"),
        ("from=yesterday", "from"),
        ("to=2026-13-45", "to"),
        ("cursor=cD1hYmM%3D", "cursor"),
        ("cursor=cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "cursor"),
    ],
)
def test_it_rejects_a_bad_query_with_a_sentence(world: World, query: str, field: str) -> None:
    answer = world.as_("operator").get(f"/api/entries?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


def test_a_page_costs_the_same_number_of_queries_however_long(world: World, django_assert_num_queries: Any) -> None:
    owner = world.as_("owner")
    for _ in range(5):
        use(world.keys["member's key"].row)
    with django_assert_num_queries(6):  # session, user, roles, entries, lines, their budgets
        owner.get("/api/entries")
