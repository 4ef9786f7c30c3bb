"""The admin of accounts and keys, by Django's client: what it shows once, refuses, asks about and writes down."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.accounts import open_account, suspend_account
from accounts.admin import AccountAdmin, ApiKeyAdmin
from accounts.forms import AccountForm, ApiKeyForm
from accounts.keys import find_key, issue_key, parse_peppers, revoke_key
from accounts.models import Account, ApiKey
from tests.accounts.conftest import PEPPERS

KEYS = "/admin/accounts/apikey/"
ACCOUNTS = "/admin/accounts/account/"


def form_of(account: Account, fields: dict[str, str] | None = None, **more: str) -> dict[str, Any]:
    empty = {"label": "", "scope": "inference", "allowed_models": "", "expires_at_0": "", "expires_at_1": ""}
    return {"account": account.pk} | empty | (fields or {}) | more


def tenant() -> Account:
    """The only account beside that of the house."""
    return Account.objects.get(is_house=False)


def words(response: HttpResponse) -> str:
    """The text of a page, spaces folded."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).replace("&#x27;", "'").split())


class TestNewKey:
    def test_it_works(self, admin_client: Client, account: Account) -> None:
        page = admin_client.post(f"{KEYS}add/", form_of(account, label="notebook", allowed_models="a, b\nc"))
        secret = re.findall(r"sk-helexa-[\w-]+", page.content.decode())[0]
        key = find_key(secret, parse_peppers(settings.HELEXA_KEY_PEPPER))
        assert key is not None
        assert (key.account, key.label, key.allowed_models) == (account, "notebook", ["a", "b", "c"])
        assert "You will not see it again." in words(page)
        assert "no-store" in page["Cache-Control"]

    def test_the_secret_is_kept_nowhere(self, admin_client: Client, account: Account) -> None:
        page = admin_client.post(f"{KEYS}add/", form_of(account))
        secret = re.findall(r"sk-helexa-[\w-]+", page.content.decode())[0]
        assert page.content.decode().count(secret) == 1
        assert secret not in str([session.get_decoded() for session in Session.objects.all()])
        assert secret not in str(LogEntry.objects.values())
        assert secret not in str(page.cookies)
        key = ApiKey.objects.get()
        for address in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/", "/admin/"):
            assert secret not in admin_client.get(address).content.decode()

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"account": ""}, "Choose the account that the key belongs to."),
            ({"account": "999999"}, "There is no such account; choose one from the list, or add it first."),
            ({"label": "x" * 10_000}, "The label has 10000 characters; at most 100 fit."),
            ({"label": "a\x07b"}, "Use one line of text without control characters."),
            ({"scope": "root"}, "“root” is not a scope; choose inference, account or operator."),
            ({"allowed_models": "a, b\x07"}, "Model 2 of the list: Use one line of text without control characters."),
            ({"expires_at_0": "2020-01-01", "expires_at_1": "10:00"}, "This expiry has passed; choose a date"),
            ({"expires_at_0": "2100-01-01"}, "The expiry needs a time as well, in UTC; write it as 18:00."),
            ({"expires_at_0": "soon", "expires_at_1": "10:00"}, "The expiry's date is not one"),
        ],
    )
    def test_it_rejects_bad_input_with_a_sentence(
        self, admin_client: Client, account: Account, fields: dict[str, str], sentence: str
    ) -> None:
        page = admin_client.post(f"{KEYS}add/", form_of(account, fields))
        assert page.status_code == 200
        assert sentence in words(page)
        assert not ApiKey.objects.exists()


class TestExistingKey:
    @pytest.fixture
    def key(self, account: Account) -> ApiKey:
        return issue_key(account=account, peppers=PEPPERS, label="notebook", allowed_models=["a"])[0]

    def test_only_label_models_and_expiry_can_change(self, admin_client: Client, key: ApiKey) -> None:
        other = open_account("physics")
        fields = form_of(other, label="renamed", scope="operator", allowed_models="b")
        admin_client.post(f"{KEYS}{key.pk}/change/", fields)
        changed = ApiKey.objects.get()
        assert (changed.label, changed.allowed_models) == ("renamed", ["b"])
        assert (changed.account, changed.scope, bytes(changed.digest)) == (key.account, "inference", key.digest)

    def test_an_expired_key_can_be_relabelled(self, admin_client: Client, key: ApiKey) -> None:
        ApiKey.objects.update(expires_at="2020-01-01T10:00Z")
        fields = form_of(key.account, label="old", expires_at_0="2020-01-01", expires_at_1="10:00:00")
        admin_client.post(f"{KEYS}{key.pk}/change/", fields)
        assert ApiKey.objects.get().label == "old"

    def test_saving_does_not_undo_a_revocation_that_happened_meanwhile(self, key: ApiKey) -> None:
        stale = ApiKey.objects.get()
        revoke_key(key)
        form = ApiKeyForm(form_of(key.account, label="renamed"), instance=stale)
        assert form.is_valid()
        ApiKeyAdmin(ApiKey, site).save_model(RequestFactory().post("/"), stale, form, change=True)
        assert ApiKey.objects.get().label == "renamed"
        assert ApiKey.objects.get().state == "revoked"

    def test_it_cannot_be_deleted(self, admin_client: Client, key: ApiKey) -> None:
        assert admin_client.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
        admin_client.post(KEYS, {"action": "delete_selected", "_selected_action": key.pk, "post": "yes"})
        assert ApiKey.objects.exists()

    def test_revoking_asks_first_and_says_how_much_it_stops(self, admin_client: Client, key: ApiKey) -> None:
        issue_key(account=key.account, peppers=PEPPERS)
        selected = {"action": "revoke", "_selected_action": [k.pk for k in ApiKey.objects.all()]}
        asked = admin_client.post(KEYS, {**selected, "index": "0"})
        assert "2 working keys will be refused with 401" in words(asked)
        assert ApiKey.objects.in_state("active").count() == 2
        done = admin_client.post(KEYS, {**selected, "confirmed": "yes"}, follow=True)
        assert "Revoked 2 keys." in words(done)
        assert ApiKey.objects.in_state("revoked").count() == 2
        assert set(LogEntry.objects.values_list("change_message", flat=True)) == {"Revoked."}

    def test_a_look_at_the_question_changes_nothing(self, admin_client: Client, key: ApiKey) -> None:
        assert admin_client.get(f"{KEYS}{key.pk}/revoke/?confirmed=yes").status_code == 200
        assert ApiKey.objects.get().state == "active"

    def test_one_key_is_revoked_from_its_own_page(self, admin_client: Client, key: ApiKey) -> None:
        done = admin_client.post(f"{KEYS}{key.pk}/revoke/", {"confirmed": "yes"}, follow=True)
        assert "Revoked" in words(done)
        assert ApiKey.objects.get().state == "revoked"
        assert f"{key.pk}/revoke/" not in done.content.decode()

    @pytest.mark.parametrize("row", ["999999", "nonsense"])
    def test_a_key_that_is_not_there_is_404(self, admin_client: Client, row: str) -> None:
        assert admin_client.get(f"{KEYS}{row}/revoke/").status_code == 404

    def test_whoever_may_only_look_cannot_revoke(self, client: Client, key: ApiKey) -> None:
        viewer = User.objects.create_user("viewer", password="x", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
        client.force_login(viewer)
        assert client.get(f"{KEYS}{key.pk}/change/").status_code == 200
        assert client.post(f"{KEYS}{key.pk}/revoke/", {"confirmed": "yes"}).status_code == 403
        client.post(KEYS, {"action": "revoke", "_selected_action": key.pk, "confirmed": "yes"})
        assert ApiKey.objects.get().state == "active"


@pytest.mark.parametrize("state", ["active", "revoked", "expired", "suspended", "nonsense"])
def test_the_list_filters_by_state(admin_client: Client, account: Account, state: str) -> None:
    issue_key(account=account, peppers=PEPPERS, label="the only one")
    page = admin_client.get(KEYS, {"state": state}, follow=True)
    assert ("the only one" in words(page)) == (state in ("active", "nonsense"))


@pytest.mark.parametrize("address", [KEYS, ACCOUNTS])
def test_the_lists_cost_no_query_per_row(admin_client: Client, address: str) -> None:
    def queries(rows: int) -> int:
        for number in range(rows):
            issue_key(account=open_account(f"account {rows} {number}"), peppers=PEPPERS)
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(address)
        return len(captured)

    assert queries(rows=5) == queries(rows=1)


class TestAccount:
    def test_it_works(self, admin_client: Client, db: None) -> None:
        admin_client.post(f"{ACCOUNTS}add/", {"name": "physics"})
        assert tenant().name == "physics"

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("", "An account needs a name."),
            ("x" * 10_000, "The name has 10000 characters; at most 100 fit."),
            ("a\x07b", "Use one line of text without control characters."),
            ("chemistry", "There is an account of this name already."),
        ],
    )
    def test_it_rejects_a_bad_name(self, admin_client: Client, account: Account, name: str, sentence: str) -> None:
        assert sentence in words(admin_client.post(f"{ACCOUNTS}add/", {"name": name}))
        assert tenant() == account

    def test_suspending_asks_first_and_says_how_many_keys_stop(self, admin_client: Client, account: Account) -> None:
        issue_key(account=account, peppers=PEPPERS)
        revoke_key(issue_key(account=account, peppers=PEPPERS)[0])
        address = f"{ACCOUNTS}{account.pk}/suspend/"
        assert "1 working key will be refused with 401" in words(admin_client.get(address))
        assert not tenant().suspended
        admin_client.post(address, {"confirmed": "yes"})
        assert tenant().suspended
        assert "1 key will work again" in words(admin_client.get(f"{ACCOUNTS}{account.pk}/resume/"))
        admin_client.post(f"{ACCOUNTS}{account.pk}/resume/", {"confirmed": "yes"})
        assert not tenant().suspended

    def test_saving_does_not_undo_a_suspension_that_happened_meanwhile(self, account: Account) -> None:
        stale = tenant()
        suspend_account(account)
        form = AccountForm({"name": "renamed"}, instance=stale)
        assert form.is_valid()
        AccountAdmin(Account, site).save_model(RequestFactory().post("/"), stale, form, change=True)
        assert tenant().name == "renamed"
        assert tenant().suspended

    def test_one_that_was_used_is_not_deleted_and_the_page_says_why(
        self, admin_client: Client, account: Account
    ) -> None:
        issue_key(account=account, peppers=PEPPERS)
        told = admin_client.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"}, follow=True)
        assert "chemistry has keys and cannot be deleted; close it instead." in words(told)
        admin_client.post(ACCOUNTS, {"action": "delete_selected", "_selected_action": account.pk, "post": "yes"})
        assert tenant() == account

    def test_one_that_was_never_used_is_deleted(self, admin_client: Client, account: Account) -> None:
        admin_client.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"})
        assert not Account.objects.filter(is_house=False).exists()

    def test_closing_is_for_good(self, admin_client: Client, account: Account) -> None:
        issue_key(account=account, peppers=PEPPERS)
        address = f"{ACCOUNTS}{account.pk}/close/"
        assert "It stays closed: none of its keys works again" in words(admin_client.get(address))
        done = admin_client.post(address, {"confirmed": "yes", "reason": "project over"}, follow=True)
        assert "Closed 1 account." in words(done)
        assert tenant().closed
        assert "close/" not in done.content.decode()
        history = words(admin_client.get(f"{ACCOUNTS}{account.pk}/history/"))
        assert "Changed by admin" in history
        assert "project over" in history

    def test_that_of_the_house_can_be_looked_at_only(self, admin_client: Client, db: None) -> None:
        house = Account.objects.get(is_house=True)
        assert "The whole ledger" in words(admin_client.get(f"{ACCOUNTS}{house.pk}/change/"))
        told = admin_client.post(f"{ACCOUNTS}{house.pk}/close/", {"confirmed": "yes"}, follow=True)
        assert "is the account of the house" in words(told)
        assert not Account.objects.get(is_house=True).closed
