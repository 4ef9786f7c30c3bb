"""`revoke_key`, `suspend` and `topup` beside the database: what they change, print and refuse."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.accounts import suspend_account
from accounts.booking.operations import Limits
from accounts.budgets import find_budget, set_limits
from accounts.keys import issue_key
from accounts.models import Account, ApiKey, Budget, Entry
from tests.accounts.booked import ME
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db

TOKENS, USD = Budget.Unit.TOKENS, Budget.Unit.NANO_USD


@pytest.fixture
def key(account: Account) -> ApiKey:
    return issue_key(account=account, peppers=PEPPERS, label="notebook")[0]


def run(*options: str) -> str:
    out = StringIO()
    call_command(*options, stdout=out)
    return out.getvalue()


def document(*options: str) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(run(*options, "--json"))
    return printed


class TestRevokeKey:
    def test_it_works(self, key: ApiKey) -> None:
        printed = document("revoke_key", key.key_id, "--reason", "laptop lost")
        assert printed == {"key_id": key.key_id, "account": "chemistry", "state": "revoked", "changed": True}
        assert ApiKey.objects.get().state == "revoked"
        assert key.history.first().history_change_reason.endswith("at a terminal: laptop lost")
        assert document("revoke_key", key.key_id)["changed"] is False

    def test_people_read_a_sentence(self, key: ApiKey) -> None:
        assert run("revoke_key", key.key_id) == f"Revoked {key} of chemistry.\n"
        assert run("revoke_key", key.key_id) == f"{key} of chemistry was revoked already.\n"

    def test_a_key_that_is_not_there_is_named(self, key: ApiKey) -> None:
        with pytest.raises(CommandError, match=r"^KEY_ID: There is no key 'key_x'; the id is what starts with key_.$"):
            run("revoke_key", "key_x")


class TestSuspend:
    def test_it_works_both_ways(self, account: Account) -> None:
        assert document("suspend", "--account", "chemistry", "--reason", "unpaid") == {
            "account": "chemistry",
            "state": "suspended",
            "changed": True,
        }
        assert Account.objects.get(pk=account.pk).suspended
        assert account.history.first().history_change_reason.endswith("at a terminal: unpaid")
        assert run("suspend", "--account", "chemistry") == "Account chemistry is suspended already.\n"
        assert run("suspend", "--account", "chemistry", "--resume") == "Account chemistry is active.\n"
        assert not Account.objects.get(pk=account.pk).suspended

    def test_an_account_that_is_not_there_is_named(self, account: Account) -> None:
        with pytest.raises(CommandError, match=r"^--account: There is no account 'physics'.$"):
            run("suspend", "--account", "physics")


class TestTopUp:
    def test_an_account_is_topped_up_in_dollars(self, account: Account) -> None:
        set_limits(account, USD, Limits(10**9, "balance"), author=ME)
        printed = document("topup", "--account", "chemistry", "--usd", "2.5", "--reason", "invoice 1207")
        entry = Entry.objects.get()
        assert printed == {
            "owner": "chemistry",
            "entry": entry.pk,
            "tokens": None,
            "usd": "2.50",
            "cap": None,
            "cap_usd": "3.50",
        }
        assert (entry.reason, entry.author_name.endswith("at a terminal")) == ("invoice 1207", True)

    def test_a_key_is_topped_up_in_tokens(self, key: ApiKey) -> None:
        set_limits(key, TOKENS, Limits(1000, "balance"), author=ME)
        told = run("topup", "--key", key.key_id, "--tokens", "500")
        assert told == f"{key}: topped up by 500 tokens, its cap is now 1,500 tokens.\n"
        budget = find_budget(key, TOKENS)
        assert budget is not None
        assert budget.cap == 1500

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--account", "physics", "--tokens", "5"], "--account: There is no account 'physics'."),
            (["--key", "key_x", "--tokens", "5"], "--key: There is no key 'key_x'"),
            (["--account", "chemistry", "--tokens", "0"], "--tokens: 0 tokens is too little"),
            (["--account", "chemistry", "--tokens", "1.5"], "--tokens: '1.5' is not a whole number of tokens"),
            (["--account", "chemistry", "--usd", "nan"], "--usd: 'nan' is not an amount in dollars"),
            (["--account", "chemistry", "--usd=-1"], "--usd: -1.00 USD is too little"),
            (["--account", "chemistry", "--usd", "5"], "--tokens or --usd: Account chemistry has no cap in US dollars"),
            (["--account", "chemistry", "--tokens", "5", "--reason", "a\nb"], "--reason: Use one line of text"),
        ],
    )
    def test_it_rejects_bad_input_naming_the_option(self, account: Account, options: list[str], sentence: str) -> None:
        set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        with pytest.raises(CommandError) as refused:
            run("topup", *options)
        assert str(refused.value).startswith(sentence)
        assert not Entry.objects.exists()

    def test_a_suspended_account_is_not_topped_up(self, account: Account) -> None:
        set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        suspend_account(account)
        with pytest.raises(CommandError, match=r"^--account: Account chemistry is suspended; resume it before"):
            run("topup", "--account", "chemistry", "--tokens", "5")

    def test_a_window_is_not_topped_up(self, account: Account) -> None:
        set_limits(account, TOKENS, Limits(1000, "day"), author=ME)
        with pytest.raises(CommandError, match=r"reset each day .UTC.; only a balance is topped up."):
            run("topup", "--account", "chemistry", "--tokens", "5")

    @pytest.mark.parametrize("options", [["--tokens", "5"], ["--account", "chemistry"], []])
    def test_owner_and_amount_must_be_given(self, account: Account, options: list[str]) -> None:
        with pytest.raises(CommandError, match=r"is required"):
            run("topup", *options)
