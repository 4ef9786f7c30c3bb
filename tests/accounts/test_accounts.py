"""Accounts are opened by name, suspended and resumed."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from accounts.accounts import close_account, delete_account, open_account, resume_account, suspend_account
from accounts.booking.operations import Author, Limits
from accounts.budgets import set_limits
from accounts.keys import install_bootstrap_key, issue_key
from accounts.models import Account, ApiKey
from tests.accounts.booked import ME
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db


def test_it_works() -> None:
    opened = open_account("  chemistry ")
    assert opened.name == "chemistry"
    assert open_account("chemistry") == opened
    assert Account.objects.filter(is_house=False).count() == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "An account needs a name."),
        ("x" * 10_000, "The name has 10000 characters; at most 100 fit."),
        ("two\nlines", "Use one line of text without control characters."),
        ("not \ud800 text", "Use one line of text without control characters."),
    ],
)
def test_it_rejects_a_bad_name_with_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        open_account(name)
    assert refused.value.message_dict == {"name": [sentence]}
    assert not Account.objects.filter(is_house=False).exists()


def test_suspending_and_resuming_say_whether_they_changed_anything() -> None:
    account = open_account("chemistry")
    assert suspend_account(account)
    assert not suspend_account(account)
    account.refresh_from_db()
    assert account.suspended
    assert resume_account(account)
    assert not resume_account(account)
    account.refresh_from_db()
    assert not account.suspended


def test_closing_bars_the_keys_and_keeps_everything() -> None:
    account = open_account("chemistry")
    key, _ = issue_key(account=account, peppers=PEPPERS)
    assert close_account(account, author=ME, reason="project over")
    assert not close_account(account)
    assert ApiKey.objects.get(pk=key.pk).state == "suspended"
    assert resume_account(account) is False
    with pytest.raises(ValidationError, match=r"Account chemistry is closed; open another one."):
        issue_key(account=Account.objects.get(pk=account.pk), peppers=PEPPERS)


@pytest.mark.parametrize("change", [suspend_account, close_account])
def test_the_history_tells_who_barred_an_account_and_why(change: object) -> None:
    account = open_account("chemistry")
    change(account, author=Author("root at a terminal"), reason="unpaid")  # type: ignore[operator]
    change(account, author=ME, reason="again")  # type: ignore[operator]
    assert account.history.first().history_change_reason == "root at a terminal: unpaid"
    assert account.history.count() == 2  # opened, and barred once


def test_neither_the_house_nor_the_account_of_the_bootstrap_key_is_closed() -> None:
    key = install_bootstrap_key("a secret of sixteen or more", PEPPERS)
    for account in (Account.objects.get(is_house=True), key.account):
        with pytest.raises(ValidationError) as refused:
            close_account(account)
        assert list(refused.value.message_dict) == ["account"]
    assert not Account.objects.exclude(closed_at=None).exists()


def test_only_an_account_that_was_never_used_is_deleted() -> None:
    unused, keyed, capped = (open_account(name) for name in ("unused", "keyed", "capped"))
    issue_key(account=keyed, peppers=PEPPERS)
    set_limits(capped, "tokens", Limits(5, "balance"), author=ME)
    delete_account(unused)
    for account, why in (
        (keyed, "has keys"),
        (capped, "has caps"),
        (Account.objects.get(is_house=True), "is the account"),
    ):
        with pytest.raises(ValidationError, match=why):
            delete_account(account)
    assert Account.objects.count() == 3
