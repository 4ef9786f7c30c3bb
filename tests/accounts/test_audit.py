"""The audit finds every way in which the books can be wrong, and nothing where they are right."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.audit import CHECKS, audit, of_request
from accounts.booking.operations import Limits
from accounts.budgets import refund, set_limits
from accounts.keys import issue_key
from accounts.models import Account, ApiKey, Budget, Entry, Line
from tests.accounts.booked import ME, reserve, settle, use
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(account: Account) -> ApiKey:
    key = issue_key(account=account, peppers=PEPPERS)[0]
    set_limits(account, Budget.Unit.TOKENS, Limits(100_000, "balance"), author=ME)
    set_limits(key, Budget.Unit.NANO_USD, Limits(10**9, "day"), author=ME)
    return key


@pytest.fixture
def entry(key: ApiKey) -> Entry:
    """Usage of 100 and 50 tokens, partly refunded, beside other usage and a request that runs."""
    entry = settle(reserve(key, 100, 100), 100, 50)
    refund(entry, tokens=10, nano_usd=20_000, reason="why not", author=ME)
    use(key, 7, 3)
    reserve(key, 10, 10)
    return entry


GUARDED = ("accounts_entry", "accounts_line", "accounts_reservation", "accounts_budget")


def sql(statement: str, *parameters: Any) -> None:
    """Rewrite what the tables themselves would refuse, with their triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement, parameters or None)
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_sound_books_have_no_differences(entry: Entry) -> None:
    found = audit()
    assert found.ok, found.differences
    assert (found.budgets, found.entries, found.reservations_open) == (2, 3, 1)


def test_empty_books_are_sound(db: None) -> None:
    assert audit().ok


CORRUPTIONS = {
    "spent": ("UPDATE accounts_budget SET spent = spent + 1 WHERE unit = 'tokens'", "spent is 151, but the lines of"),
    "reserved": (
        "UPDATE accounts_budget SET reserved = reserved - 1 WHERE unit = 'tokens'",
        "reserved is 19, but open",
    ),
    "a held budget that is gone": (
        "UPDATE accounts_reservation SET budget_ids = ARRAY[98765, 98766] WHERE state = 'open'",
        "Budget 98765: reserved is 0, but open reservations hold 20.",
    ),
    "no entry": ("DELETE FROM accounts_entry WHERE id = {entry}", "is settled, but has no entry of usage."),
    "a second entry": (
        "UPDATE accounts_entry SET reservation_id = (SELECT reservation_id FROM accounts_entry WHERE id = {entry})"
        " WHERE kind = 'usage'",
        "has 2 entries of usage.",
    ),
    "released but billed": (
        "UPDATE accounts_reservation SET state = 'released'"
        " WHERE id = (SELECT reservation_id FROM accounts_entry WHERE id = {entry})",
        "Entry {entry}: its reservation",
    ),
    "a reservation that is gone": (
        "DELETE FROM accounts_reservation WHERE id = (SELECT reservation_id FROM accounts_entry WHERE id = {entry})",
        "Entry {entry}: its reservation",
    ),
    "more than granted": (
        "UPDATE accounts_reservation SET granted = 149 WHERE state = 'settled' AND granted = 200",
        "Entry {entry}: 150 tokens used, but reservation",
    ),
    "a wrong cost": ("UPDATE accounts_entry SET nano_usd = 199999 WHERE id = {entry}", "make 150 and 200000."),
    "a price nobody billed by": (
        "UPDATE accounts_entry SET output_price = output_price + 1 WHERE id = {entry}",
        "Entry {entry}: 150 tokens and 200000 nano-USD are billed, its counts and prices make 150 and 200001.",
    ),
    "a wrong sum of tokens": (
        "UPDATE accounts_entry SET prompt_tokens = 99 WHERE id = {entry}",
        "make 149 and 199000",
    ),
    "a wrong line": (
        "UPDATE accounts_line SET amount = 151 WHERE entry_id = {entry} AND amount = 150",
        "151 in budget",
    ),
    "a line without its entry": ("DELETE FROM accounts_entry WHERE id = {entry}", "its entry {entry} is not there."),
    "a missing line": (
        "DELETE FROM accounts_line WHERE entry_id = {entry} AND amount = 150",
        "Entry {entry}: it has 1 lines, its reservation holds in 2 budgets.",
    ),
    "too large a refund": (
        "UPDATE accounts_entry SET tokens = -151 WHERE refunds_id = {entry}",
        "Entry {entry}: refunds give back 151 tokens and 20000 nano-USD of 150 and 200000.",
    ),
    "a refund that takes": ("UPDATE accounts_entry SET tokens = 1 WHERE refunds_id = {entry}", "refunds give back -1"),
    "hours": ("UPDATE accounts_hourlyspend SET tokens = tokens + 1", "are summed up, the entries make 150 and"),
    "no hour": ("DELETE FROM accounts_hourlyspend", "0 tokens and 0 nano-USD in 0 requests are summed up"),
    "days": (
        "INSERT INTO accounts_dailyspend (account_id, day, key_id, model, requests, prompt_tokens, completion_tokens,"
        " tokens, nano_usd) SELECT account_id, (hour AT TIME ZONE 'UTC')::date, key_id, model, requests, prompt_tokens,"
        " completion_tokens, tokens + 1, nano_usd FROM accounts_hourlyspend",
        "151 tokens and 193000 nano-USD are summed up, its hours make 150 and",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_it_finds(entry: Entry, name: str) -> None:
    if name == "a second entry":
        drop("DROP INDEX entry_one_per_reservation")
    statement, sentence = CORRUPTIONS[name]
    sql(statement.format(entry=entry.pk))
    found = audit()
    assert any(sentence.format(entry=entry.pk) in difference for difference in found.differences), found.differences


def test_it_finds_a_cap_that_was_passed(entry: Entry) -> None:
    drop("ALTER TABLE accounts_budget DROP CONSTRAINT budget_within_cap")
    sql("UPDATE accounts_budget SET cap = 169 WHERE unit = 'tokens'")
    assert any("150 spent and 20 reserved are more than its cap of 169." in d for d in audit().differences)


def drop(statement: str) -> None:
    """Take away a guard of the tables for this test; deferred checks have to be over before."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


def test_days_that_are_over_may_be_summed_up_and_today_need_not(entry: Entry) -> None:
    sql(
        "INSERT INTO accounts_dailyspend (account_id, day, key_id, model, requests, prompt_tokens, completion_tokens,"
        " tokens, nano_usd) SELECT account_id, (hour AT TIME ZONE 'UTC')::date, key_id, model, requests, prompt_tokens,"
        " completion_tokens, tokens, nano_usd FROM accounts_hourlyspend"
    )
    assert audit().ok, audit().differences


def test_many_differences_of_one_kind_are_cut_short(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.audit.MOST_TOLD", 2)
    for _ in range(4):
        use(key)
    sql("UPDATE accounts_entry SET nano_usd = 1")
    cost = next(name for name in CHECKS if name.startswith("usage is billed"))
    assert audit().differences[-1] != ""
    assert f"There are more than these 2 cases in which it does not hold that {cost}." in audit().differences


def run(*options: str) -> tuple[str, int]:
    out, code = StringIO(), 0
    try:
        call_command("audit_ledger", *options, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return out.getvalue(), code


class TestCommand:
    def test_it_prints_one_document(self, entry: Entry) -> None:
        printed, code = run("--json")
        expected = {"ok": True, "budgets": 2, "entries": 3, "reservations_open": 1, "differences": []}
        assert (json.loads(printed), code) == (expected, 0)

    def test_a_difference_is_a_sentence_and_a_failure(self, entry: Entry) -> None:
        sql("UPDATE accounts_budget SET spent = spent + 1 WHERE unit = 'tokens'")
        printed, code = run()
        assert "spent is 151, but the lines of window 1 add up to 150." in printed
        assert code == 1
        assert run("--json")[1] == 1

    def test_a_request_is_shown_with_everything_that_was_booked_for_it(self, entry: Entry) -> None:
        printed, _ = run("--request", entry.request_id, "--json")
        booked = json.loads(printed)
        assert booked == of_request(entry.request_id)
        assert (booked["state"], booked["tokens"], booked["nano_usd"], booked["usd"]) == (
            "settled",
            140,
            180_000,
            "0.00018",
        )
        assert booked["counts"] == {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "cached_tokens": 0,
            "reasoning_tokens": 0,
        }
        assert [e["kind"] for e in booked["entries"]] == ["usage", "refund"]
        assert [line["amount"] for line in booked["entries"][0]["lines"]] == [150, 200_000]
        assert booked["reservation"]["granted"] == 200
        assert "billed" in run("--request", entry.request_id)[0]

    @pytest.mark.parametrize("request_id", ["req_" + "0" * 32, "nonsense", ""])
    def test_a_request_that_nobody_knows_is_one_sentence(self, entry: Entry, request_id: str) -> None:
        with pytest.raises(CommandError, match="--request: Nothing was booked for"):
            run("--request", request_id, "--json")


def test_lines_that_are_gone_are_told_with_the_budget(entry: Entry) -> None:
    """The two views of one fault: a budget that spent what no line says."""
    sql("DELETE FROM accounts_line WHERE entry_id = %s", entry.pk)
    assert Line.objects.exists()
    assert any(difference.startswith("Budget ") for difference in audit().differences)
