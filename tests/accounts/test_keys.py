"""Keys are made, found by their secret alone, and revoked; the bootstrap key follows its setting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils import timezone

from accounts.accounts import open_account, suspend_account
from accounts.keys import (
    digest,
    find_key,
    install_bootstrap_key,
    issue_key,
    parse_peppers,
    revoke_key,
    split_model_ids,
)
from accounts.models import Account, ApiKey
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db


def test_it_works(account: Account) -> None:
    key, secret = issue_key(account=account, peppers=PEPPERS, label="notebook")
    assert secret.startswith("sk-helexa-")
    assert find_key(secret, PEPPERS) == key
    assert find_key(secret + "x", PEPPERS) is None
    assert key.state == "active"


def test_the_row_keeps_a_digest_and_not_the_secret(account: Account) -> None:
    key, secret = issue_key(account=account, peppers=PEPPERS)
    row = ApiKey.objects.filter(pk=key.pk).values().get()
    assert secret not in repr(row)
    assert bytes(row["digest"]) == digest(secret, PEPPERS[2])
    assert row["pepper_id"] == 2


def test_keys_of_an_older_pepper_are_found_after_a_rotation(account: Account) -> None:
    key, secret = issue_key(account=account, peppers={1: PEPPERS[1]})
    assert find_key(secret, PEPPERS) == key
    assert find_key(secret, {2: PEPPERS[2]}) is None


@pytest.mark.parametrize(
    ("fields", "name", "sentence"),
    [
        ({"label": "x" * 10_000}, "label", "The label has 10000 characters; at most 100 fit."),
        ({"label": "a\x07b"}, "label", "Use one line of text without control characters."),
        ({"scope": "root"}, "scope", "'root' is not a scope; choose inference, account or operator."),
        ({"allowed_models": ["a", "b\n"]}, "allowed_models", "Model 2 of the list: Use one line of text"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "expires_at", "This expiry has passed"),
    ],
)
def test_it_rejects_bad_input_naming_the_field(
    account: Account, fields: dict[str, Any], name: str, sentence: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        issue_key(account=account, peppers=PEPPERS, **fields)
    assert list(refused.value.message_dict) == [name]
    assert refused.value.message_dict[name][0].startswith(sentence)
    assert not ApiKey.objects.exists()


def test_every_state_is_told_and_filtered_alike(account: Account) -> None:
    past = timezone.now() - timedelta(minutes=1)
    keys = [issue_key(account=account, peppers=PEPPERS)[0] for _ in range(3)]
    keys.append(issue_key(account=open_account("suspended"), peppers=PEPPERS)[0])
    revoke_key(keys[1])
    ApiKey.objects.filter(pk=keys[2].pk).update(expires_at=past)
    suspend_account(keys[3].account)
    for key, state in zip(keys, ["active", "revoked", "expired", "suspended"], strict=True):
        assert ApiKey.objects.get(pk=key.pk).state == state
        assert list(ApiKey.objects.in_state(state)) == [key]


def test_revoking_says_whether_it_changed_anything(account: Account) -> None:
    key, _ = issue_key(account=account, peppers=PEPPERS)
    assert revoke_key(key)
    assert not revoke_key(key)


@pytest.mark.parametrize(
    ("setting", "peppers"),
    [("one", {1: b"one"}), ("2:new,1:old", {2: b"new", 1: b"old"}), ("with:colon", {1: b"with:colon"})],
)
def test_peppers_are_one_secret_or_several_with_ids(setting: str, peppers: dict[int, bytes]) -> None:
    assert parse_peppers(setting) == peppers


@pytest.mark.parametrize("setting", ["", "a,b", "1:a,1:b", "1:", "40000:a"])
def test_it_rejects_peppers_that_cannot_be_told_apart(setting: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="HELEXA_KEY_PEPPER"):
        parse_peppers(setting)


def test_model_ids_are_split_at_commas_and_lines_each_once() -> None:
    assert split_model_ids(" a, b\nc,,a ") == ["a", "b", "c"]


class TestBootstrapKey:
    secret = "a secret of sixteen or more"

    def test_it_works(self) -> None:
        key = install_bootstrap_key(self.secret, PEPPERS)
        assert find_key(self.secret, PEPPERS) == key
        assert (key.account.name, key.scope, key.state) == ("default", "operator", "active")

    def test_it_is_made_valid_again_at_every_start(self) -> None:
        key = install_bootstrap_key(self.secret, PEPPERS)
        revoke_key(key)
        suspend_account(key.account)
        assert install_bootstrap_key(self.secret, PEPPERS) == key
        assert ApiKey.objects.get().state == "active"

    def test_another_one_revokes_the_earlier_even_if_it_was_relabelled(self) -> None:
        earlier = install_bootstrap_key(self.secret, PEPPERS)
        ApiKey.objects.filter(pk=earlier.pk).update(label="mine")
        install_bootstrap_key("another secret, long enough", PEPPERS)
        earlier.refresh_from_db()
        assert earlier.state == "revoked"

    def test_a_key_that_is_merely_called_bootstrap_is_left_alone(self) -> None:
        install_bootstrap_key(self.secret, PEPPERS)
        other, _ = issue_key(account=open_account("default"), peppers=PEPPERS, label="bootstrap")
        install_bootstrap_key("another secret, long enough", PEPPERS)
        other.refresh_from_db()
        assert other.state == "active"

    def test_it_takes_over_a_key_that_exists(self, account: Account) -> None:
        key, secret = issue_key(account=account, peppers=PEPPERS, allowed_models=["a"])
        assert install_bootstrap_key(secret, PEPPERS) == key
        key.refresh_from_db()
        assert (key.account.name, key.scope, key.allowed_models) == ("default", "operator", [])

    def test_it_rejects_a_secret_that_is_too_short(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="16 characters"):
            install_bootstrap_key("short", PEPPERS)
