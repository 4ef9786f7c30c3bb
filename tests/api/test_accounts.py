"""Accounts and their members over /api/."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from accounts.accounts import create_account
from accounts.keys import issue_key
from accounts.models import Account, Member
from tests.accounts.booked import ME
from tests.api.conftest import PEPPERS, World

JSON: dict[str, Any] = {"content_type": "application/json"}


def test_it_works(world: World) -> None:
    operator = world.as_("operator")
    opened = operator.post("/api/accounts", {"name": "biology"}, **JSON)
    assert opened.status_code == 201
    assert (opened.json()["name"], opened.json()["state"]) == ("biology", "active")
    url = f"/api/accounts/{opened.json()['id']}"
    assert operator.patch(url, {"name": "botany"}, **JSON).json()["name"] == "botany"
    assert operator.post(f"{url}/suspend", {"reason": "unpaid"}, **JSON).json()["state"] == "suspended"
    assert operator.post(f"{url}/resume", **JSON).json()["state"] == "active"
    assert operator.post(f"{url}/close", {"reason": "gone"}, **JSON).json()["state"] == "closed"
    history = Account.objects.get(name="botany").history.order_by("history_id")
    assert [row.history_change_reason or "" for row in history] == ["", "", "unpaid", "", "gone"]
    assert {row.history_user for row in history} == {world.people["operator"]}


def test_a_suspended_account_locks_its_keys_out(world: World) -> None:
    world.as_("operator").post(f"/api/accounts/{world.chemistry.pk}/suspend", **JSON)
    assert world.as_("account key").get("/api/accounts").status_code == 401
    assert world.as_("owner").get("/api/accounts").json()["results"][0]["state"] == "suspended"


def test_a_closed_account_stays_closed_and_gets_no_keys(world: World) -> None:
    operator, url = world.as_("operator"), f"/api/accounts/{world.chemistry.pk}"
    operator.post(f"{url}/close", **JSON)
    for refused in (
        operator.post(f"{url}/resume", **JSON),
        world.as_("owner").post("/api/keys", {"account": world.chemistry.pk}, **JSON),
        operator.put(f"{url}/budgets/tokens", {"cap": 5, "window": "balance"}, **JSON),
    ):
        assert refused.status_code == 400
        assert "closed" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "This field may not be blank."),
        ("physics", "There is an account of this name already."),
        ("x" * 10_000, "no more than 100 characters"),
        ("a\nb", "Use one line of text without control characters."),
        (None, "This field may not be null."),
        (["a"], "This must be a string."),
    ],
)
def test_it_rejects_a_bad_name_with_a_sentence(world: World, name: Any, sentence: str) -> None:
    before = set(Account.objects.values_list("name", flat=True))
    operator = world.as_("operator")
    for answer in (
        operator.post("/api/accounts", {"name": name}, **JSON),
        operator.patch(f"/api/accounts/{world.chemistry.pk}", {"name": name}, **JSON),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["field"] == "name"
        assert sentence in answer.json()["error"]["message"]
    assert set(Account.objects.values_list("name", flat=True)) == before


def test_accounts_are_found_by_name(world: World) -> None:
    found = world.as_("operator").get("/api/accounts?name=physics").json()["results"]
    assert [account["id"] for account in found] == [world.physics.pk]


def test_owners_give_and_take_roles(world: World) -> None:
    owner = world.as_("owner")
    sent = {"account": world.chemistry.pk, "user": "newcomer", "role": "auditor"}
    made = owner.post("/api/members", sent, **JSON)
    assert made.status_code == 201
    url = f"/api/members/{made.json()['id']}"
    assert world.as_("newcomer").get("/api/keys").status_code == 200
    assert owner.patch(url, {"role": "member"}, **JSON).json()["role"] == "member"
    assert owner.delete(url).status_code == 204
    assert not Member.objects.filter(user=world.people["newcomer"]).exists()
    assert world.as_("newcomer").get("/api/keys").status_code == 403
    kinds = list(Member.history.filter(user=world.people["newcomer"]).order_by("history_id").values_list(
        "history_type", "history_user__username"
    ))  # fmt: skip
    assert kinds == [("+", "owner"), ("~", "owner"), ("-", "owner")]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"user": "nobody at all"}, "user"),
        ({"user": "a\x00"}, "user"),
        ({"role": "operator"}, "role"),
        ({"user": "member"}, ""),
    ],
)
def test_it_rejects_a_bad_member_with_a_sentence(world: World, sent: dict[str, str], field: str) -> None:
    whole = {"account": world.chemistry.pk, "user": "newcomer", "role": "member", **sent}
    answer = world.as_("owner").post("/api/members", whole, **JSON)
    assert answer.status_code == 400
    assert (answer.json()["error"]["field"] or "") == field
    assert Member.objects.filter(account=world.chemistry).count() == 4


def test_of_two_who_open_one_name_at_once_one_is_refused(fresh_database: str) -> None:
    """Both found the name free: while the first has not committed, the second waits at the table's constraint."""
    operator = issue_key(account=create_account("operations", author=ME), peppers=PEPPERS, scope="operator")[1]
    client = Client(headers={"x-api-key": operator})
    with psycopg.connect(fresh_database) as first, ThreadPoolExecutor(1) as second:
        first.execute("INSERT INTO accounts_account (name, is_house, created_at) VALUES ('biology', false, now())")
        answering = second.submit(_posted, client)
        _wait_until_somebody_waits(fresh_database)
        first.commit()
        answer = answering.result(20)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "conflict"
    assert Account.objects.filter(name="biology").count() == 1


def _posted(client: Client) -> Any:
    try:
        return client.post("/api/accounts", {"name": "biology"}, **JSON)
    finally:
        connection.close()


def _wait_until_somebody_waits(database_url: str) -> None:
    until_s = time.monotonic() + 20
    with psycopg.connect(database_url, autocommit=True) as watcher:
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while watcher.execute(waiting).fetchone() is None:
            assert time.monotonic() < until_s, "nobody waits for the lock"
            time.sleep(0.02)
