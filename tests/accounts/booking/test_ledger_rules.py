"""What the tables themselves refuse, also to their owner: rewriting the ledger, and steps that are none."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.booking.operations import Limits, Refund
from accounts.booking.transaction import book
from accounts.budgets import set_limits
from accounts.keys import issue_key
from accounts.models import Account, ApiKey, Budget, Entry, Line, Reservation
from accounts.models.reservation import TRANSITIONS
from tests.accounts.booked import ME, reserve, settle, use
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db

State = Reservation.State


@pytest.fixture
def key(account: Account) -> ApiKey:
    key, _ = issue_key(account=account, peppers=PEPPERS)
    set_limits(key, Budget.Unit.TOKENS, Limits(1000, "balance"), author=ME)
    return key


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_entry SET tokens = 0",
        "DELETE FROM accounts_entry",
        "TRUNCATE accounts_entry CASCADE",
        "UPDATE accounts_line SET amount = 0",
        "DELETE FROM accounts_line",
        "TRUNCATE accounts_line",
    ],
)
def test_entries_and_lines_are_never_changed(key: ApiKey, statement: str) -> None:
    use(key)
    before = list(Entry.objects.values()), list(Line.objects.values())
    assert all(before)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert (list(Entry.objects.values()), list(Line.objects.values())) == before


@pytest.mark.parametrize("after", State.values)
@pytest.mark.parametrize("before", State.values)
def test_a_reservation_takes_the_steps_of_the_table_and_no_others(key: ApiKey, before: str, after: str) -> None:
    reservation = Reservation.objects.filter(pk=reserve(key, 10, 10))
    if before != State.OPEN:
        reservation.update(state=before, closed_at="2026-01-01T00:00Z")

    def step() -> None:
        closed_at: Any = None if after == State.OPEN else "2026-01-01T00:00Z"
        with transaction.atomic():
            reservation.update(state=after, closed_at=closed_at)

    if after in TRANSITIONS[before] or before == after:
        step()
    else:
        with pytest.raises(IntegrityError, match="cannot go from"):
            step()


def test_what_the_ledger_refers_to_stays(key: ApiKey) -> None:
    entry = use(key)
    for row in (key.account, key, key.budgets.get(), Reservation.objects.get(pk=entry.reservation_id)):
        with (
            pytest.raises(IntegrityError, match="refers to this row"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"DELETE FROM {row._meta.db_table} WHERE id = %s", [row.pk])


def test_a_key_with_an_open_reservation_stays(key: ApiKey) -> None:
    reserve(key, 10, 10)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_apikey WHERE id = %s", [key.pk])


def test_what_nothing_refers_to_may_go(account: Account) -> None:
    key, _ = issue_key(account=account, peppers=PEPPERS)
    key.delete()
    assert not ApiKey.objects.filter(account=account).exists()


def test_a_counter_past_its_cap_is_refused_by_the_table(key: ApiKey) -> None:
    with pytest.raises(IntegrityError, match="budget_within_cap"), transaction.atomic():
        Budget.objects.filter(key=key).update(spent=1001)


def test_refunds_and_corrections_find_their_entry_by_its_reservation(key: ApiKey) -> None:
    """The rows that `Refund` reads: what earlier refunds left of it, and its lines."""
    entry = settle(reserve(key, 100, 50), 100, 50)
    budget_ids = (key.budgets.get().pk,)
    for tokens in (60, 60):
        book([Refund(entry.pk, budget_ids, tokens=tokens, nano_usd=0, reason="slow", author=ME)])
    (answer,) = book([Refund(entry.pk, budget_ids, tokens=31, nano_usd=0, reason="slow", author=ME)])
    assert "what is left of the entry: 30" in str(answer)
    assert key.budgets.get().spent == 30
