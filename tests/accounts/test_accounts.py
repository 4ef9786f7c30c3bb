"""Accounts are opened by name, suspended and resumed."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from accounts.accounts import open_account, resume_account, suspend_account
from accounts.models import Account

pytestmark = pytest.mark.django_db


def test_it_works() -> None:
    opened = open_account("  chemistry ")
    assert opened.name == "chemistry"
    assert open_account("chemistry") == opened
    assert Account.objects.count() == 1


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
    assert not Account.objects.exists()


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
