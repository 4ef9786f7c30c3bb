"""Money in the admin, by Django's client: caps, top-ups and refunds are asked about first, the ledger is to read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.accounts import suspend_account
from accounts.booking.operations import Limits
from accounts.budgets import find_budget, set_limits
from accounts.keys import issue_key
from accounts.models import (
    Account,
    ApiKey,
    Budget,
    BudgetWarning,
    Delivery,
    Entry,
    Member,
    RequestRecord,
    Reservation,
    Webhook,
)
from tests.accounts.booked import ME, reserve, use
from tests.accounts.conftest import PEPPERS
from tests.accounts.test_admin import ACCOUNTS, KEYS, words

TOKENS, USD = Budget.Unit.TOKENS, Budget.Unit.NANO_USD
ADMIN = "/admin/accounts/"


@pytest.fixture
def key(account: Account) -> ApiKey:
    return issue_key(account=account, peppers=PEPPERS, label="notebook")[0]


def seen(client: Client, address: str) -> str:
    """What the form remembers of the limits that it showed."""
    found = re.findall(r'name="seen" value="([^"]+)"', client.get(address).content.decode())
    return found[0].replace("&quot;", '"')


def cap_form(client: Client, address: str, **fields: str) -> dict[str, Any]:
    shown = {"window": "balance", "window_seconds": "", "time_zone": "UTC", "reason": "", "seen": seen(client, address)}
    return shown | fields


class TestCap:
    def test_it_works(self, admin_client: Client, account: Account) -> None:
        address = f"{ACCOUNTS}{account.pk}/cap/tokens/"
        form = cap_form(admin_client, address, cap="5,000", window="day", time_zone="Europe/Berlin", reason="trial")
        asked = words(admin_client.post(address, form))
        assert "Cap none 5,000 tokens" in asked
        assert "reset each day (Europe/Berlin)" in asked
        assert "5,000 tokens will be left." in asked
        assert find_budget(account, TOKENS) is None
        done = words(admin_client.post(address, form | {"confirmed": "yes"}, follow=True))
        assert "The cap of chemistry is 5,000 tokens, reset each day (Europe/Berlin) now." in done
        assert "0 tokens of 5,000 tokens spent" in done
        budget = find_budget(account, TOKENS)
        assert budget is not None
        assert (budget.cap, budget.window, budget.time_zone) == (5000, "day", "Europe/Berlin")
        history = words(admin_client.get(f"{ADMIN}budget/{budget.pk}/history/"))
        assert "by admin" in history
        assert "trial" in history

    def test_a_key_gets_one_in_dollars(self, admin_client: Client, key: ApiKey) -> None:
        address = f"{KEYS}{key.pk}/cap/nano_usd/"
        form = cap_form(admin_client, address, cap="12.50", window="rolling", window_seconds="3600")
        assert "can use only models that have a price" in words(admin_client.post(address, form))
        admin_client.post(address, form | {"confirmed": "yes"})
        budget = find_budget(key, USD)
        assert budget is not None
        assert (budget.cap, budget.window, budget.window_seconds) == (12_500_000_000, "rolling", 3600)

    def test_one_below_what_is_used_says_what_that_means(self, admin_client: Client, key: ApiKey) -> None:
        set_limits(key, TOKENS, Limits(1000, "balance"), author=ME)
        use(key, 100, 50)
        reserve(key, 10, 90)
        address = f"{KEYS}{key.pk}/cap/tokens/"
        asked = words(admin_client.post(address, cap_form(admin_client, address, cap="200")))
        assert "150 tokens spent and 100 tokens held by running requests count against it." in asked
        assert "Nothing will be left: every new request is refused. What runs is not cut." in asked
        assert "The cap sinks to this value as running requests end." in asked

    def test_the_page_shows_what_is_spent_held_and_left(self, admin_client: Client, key: ApiKey) -> None:
        set_limits(key, TOKENS, Limits(1000, "balance"), author=ME)
        use(key, 100, 50)
        reserve(key, 10, 90)
        page = words(admin_client.get(f"{KEYS}{key.pk}/change/"))
        assert "150 tokens of 1,000 tokens spent 100 tokens held by running requests 750 tokens left" in page

    def test_a_window_that_is_over_shows_nothing_spent(self, admin_client: Client, key: ApiKey) -> None:
        set_limits(key, TOKENS, Limits(1000, "day"), author=ME)
        use(key, 100, 50)
        Budget.objects.update(window_ends_at=timezone.now())
        assert "0 tokens of 1,000 tokens spent" in words(admin_client.get(f"{KEYS}{key.pk}/change/"))

    def test_it_is_lifted_by_an_empty_one(self, admin_client: Client, key: ApiKey) -> None:
        set_limits(key, TOKENS, Limits(1000, "balance"), author=ME)
        address = f"{KEYS}{key.pk}/cap/tokens/"
        form = cap_form(admin_client, address, cap="")
        assert "Lift the cap" in words(admin_client.post(address, form))
        admin_client.post(address, form | {"confirmed": "yes"})
        assert find_budget(key, TOKENS).cap is None

    def test_the_way_back_from_the_question_keeps_what_was_typed(self, admin_client: Client, account: Account) -> None:
        address = f"{ACCOUNTS}{account.pk}/cap/tokens/"
        form = cap_form(admin_client, address, cap="777", reason="typed before")
        page = admin_client.post(address, form | {"back": "yes"}).content.decode()
        assert 'value="777"' in page
        assert 'value="typed before"' in page
        assert find_budget(account, TOKENS) is None

    @pytest.mark.parametrize("step", [{}, {"confirmed": "yes"}])
    def test_the_second_of_two_operators_sees_what_the_first_did(
        self, admin_client: Client, account: Account, step: dict[str, str]
    ) -> None:
        address = f"{ACCOUNTS}{account.pk}/cap/tokens/"
        form = cap_form(admin_client, address, cap="1000")
        set_limits(account, TOKENS, Limits(555, "balance"), author=ME)
        page = admin_client.post(address, form | step)
        assert "Somebody else changed this" in words(page)
        assert "Now the cap is 555 tokens, never reset" in words(page)
        assert find_budget(account, TOKENS).cap == 555
        form["seen"] = re.findall(r'name="seen" value="([^"]+)"', page.content.decode())[0].replace("&quot;", '"')
        admin_client.post(address, form | {"confirmed": "yes"})
        assert find_budget(account, TOKENS).cap == 1000

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"cap": "0"}, "0 tokens is too little: it must be more than 0."),
            ({"cap": "-5"}, "-5 tokens is too little: it must be more than 0."),
            ({"cap": "1.5"}, "'1.5' is not a whole number of tokens; write it as 50000."),
            ({"cap": "nan"}, "'nan' is not a whole number of tokens; write it as 50000."),
            ({"cap": "9" * 30}, "So many tokens cannot be counted; the most is"),
            ({"cap": "5", "window": "rolling", "window_seconds": "0"}, "A rolling window lasts from 1 to 31622400"),
            ({"cap": "5", "window": "day", "time_zone": "Mars/Base"}, "'Mars/Base' is not a time zone; write it as"),
            ({"cap": "5", "window": "fortnight"}, "“fortnight” is not a window; choose one from the list."),
            ({"cap": "5", "reason": "x" * 10_000}, "The reason has 10000 characters; at most 200 fit."),
            ({"cap": "5", "seen": "nonsense"}, "Somebody else changed this"),
        ],
    )
    @pytest.mark.parametrize("step", [{}, {"confirmed": "yes"}], ids=["asked", "confirmed"])
    def test_it_rejects_bad_input_beside_the_field(
        self, admin_client: Client, account: Account, fields: dict[str, str], sentence: str, step: dict[str, str]
    ) -> None:
        address = f"{ACCOUNTS}{account.pk}/cap/tokens/"
        page = admin_client.post(address, cap_form(admin_client, address, **fields) | step)
        assert sentence in words(page)
        assert find_budget(account, TOKENS) is None

    @pytest.mark.parametrize("address", ["999999/cap/tokens/", "nonsense/cap/tokens/", "{account}/cap/euros/"])
    def test_what_is_not_there_is_404(self, admin_client: Client, account: Account, address: str) -> None:
        assert admin_client.get(ACCOUNTS + address.format(account=account.pk)).status_code == 404

    @pytest.mark.parametrize("page", ["cap/tokens/", "topup/tokens/"])
    def test_whoever_may_only_look_cannot_change_it(self, client: Client, account: Account, page: str) -> None:
        set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        client.force_login(viewer())
        assert "0 tokens of 1,000 tokens spent" in words(client.get(f"{ACCOUNTS}{account.pk}/change/"))
        assert "Change the cap" not in words(client.get(f"{ACCOUNTS}{account.pk}/change/"))
        fields = {"cap": "5", "amount": "5", "window": "balance", "seen": "[]", "confirmed": "yes"}
        assert client.post(f"{ACCOUNTS}{account.pk}/{page}", fields).status_code == 403
        assert find_budget(account, TOKENS).cap == 1000


def viewer() -> User:
    user = User.objects.create_user("viewer", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return user


class TestTopUp:
    def test_it_works(self, admin_client: Client, account: Account) -> None:
        set_limits(account, USD, Limits(10 * 10**9, "balance"), author=ME)
        address = f"{ACCOUNTS}{account.pk}/topup/nano_usd/"
        form = {"amount": "2.5", "reason": "invoice 1207"}
        assert "Cap 10.00 USD 12.50 USD" in words(admin_client.post(address, form))
        assert not Entry.objects.exists()
        done = words(admin_client.post(address, form | {"confirmed": "yes"}, follow=True))
        assert "chemistry was topped up by 2.50 USD." in done
        entry = Entry.objects.get()
        assert (entry.nano_usd, entry.reason, entry.author_name) == (25 * 10**8, "invoice 1207", "admin")
        assert f"credit {entry.pk}" in done

    @pytest.mark.parametrize("amount", ["", "0", "-1", "NaN", "1e30", "0.0000000001"])
    def test_it_rejects_an_amount_that_is_none(self, admin_client: Client, account: Account, amount: str) -> None:
        set_limits(account, USD, Limits(10**9, "balance"), author=ME)
        page = admin_client.post(f"{ACCOUNTS}{account.pk}/topup/nano_usd/", {"amount": amount, "confirmed": "yes"})
        assert page.status_code == 200
        assert not Entry.objects.exists()

    def test_a_suspended_account_is_not_topped_up(self, admin_client: Client, account: Account) -> None:
        set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        suspend_account(account)
        page = admin_client.post(f"{ACCOUNTS}{account.pk}/topup/tokens/", {"amount": "5"})
        assert "Account chemistry is suspended; resume it before topping it up." in words(page)

    def test_without_a_cap_there_is_nothing_to_top_up(self, admin_client: Client, account: Account) -> None:
        page = admin_client.post(f"{ACCOUNTS}{account.pk}/topup/tokens/", {"amount": "5"})
        assert "Account chemistry has no cap in tokens to top up; set one first." in words(page)


class TestRefund:
    @pytest.fixture
    def entry(self, key: ApiKey) -> Entry:
        set_limits(key, TOKENS, Limits(1000, "balance"), author=ME)
        return use(key, 100, 50)

    def test_it_works(self, admin_client: Client, entry: Entry, key: ApiKey) -> None:
        address = f"{ADMIN}entry/{entry.pk}/refund/"
        shown = admin_client.get(address).content.decode()
        assert 'value="150"' in shown
        assert 'value="0.0002"' in shown
        form = {"tokens": "150", "usd": "0.0002", "reason": "gibberish"}
        asked = words(admin_client.post(address, form))
        assert "150 tokens become free again in the cap of" in asked
        assert find_budget(key, TOKENS).spent == 150
        done = words(admin_client.post(address, form | {"confirmed": "yes"}, follow=True))
        assert "Gave back 150 tokens and 0.0002 USD." in done
        assert find_budget(key, TOKENS).spent == 0
        refund = Entry.objects.get(kind="refund")
        assert (refund.refunds, refund.reason, refund.author_name) == (entry, "gibberish", "admin")
        assert "gibberish" in words(admin_client.get(f"{ADMIN}entry/{refund.pk}/change/"))

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"reason": ""}, "A refund needs a reason; it stays on the books."),
            ({"tokens": "151"}, "Of this entry between 0 and 150 tokens can be given back"),
            ({"tokens": "", "usd": ""}, "Give back more than 0 tokens or 0 dollars."),
            ({"tokens": "-1"}, "-1 tokens is too little"),
        ],
    )
    def test_it_rejects_what_cannot_be_given_back(
        self, admin_client: Client, entry: Entry, fields: dict[str, str], sentence: str
    ) -> None:
        form = {"tokens": "150", "usd": "", "reason": "why", "confirmed": "yes"} | fields
        assert sentence in words(admin_client.post(f"{ADMIN}entry/{entry.pk}/refund/", form))
        assert not Entry.objects.filter(kind="refund").exists()

    def test_whoever_may_only_look_cannot_refund(self, client: Client, entry: Entry) -> None:
        client.force_login(viewer())
        assert f"{entry.pk}/refund/" not in client.get(f"{ADMIN}entry/{entry.pk}/change/").content.decode()
        form = {"tokens": "1", "usd": "", "reason": "why", "confirmed": "yes"}
        assert client.post(f"{ADMIN}entry/{entry.pk}/refund/", form).status_code == 403
        assert not Entry.objects.filter(kind="refund").exists()


class TestReading:
    @pytest.fixture
    def books(self, key: ApiKey) -> Entry:
        """A row in every table that can be looked at."""
        set_limits(key, TOKENS, Limits(180, "balance"), author=ME)
        set_limits(key.account, USD, Limits(10**9, "month"), author=ME)
        entry = use(key, 100, 50)
        RequestRecord.objects.create(
            request_id=entry.request_id, at=timezone.now(), account=key.account, key=key, status=200, duration_ms=7
        )
        webhook = Webhook.objects.create(url="https://example.org/hook", secret="s")
        Delivery.objects.create(warning=BudgetWarning.objects.get(), webhook=webhook)
        Member.objects.create(account=key.account, user=User.objects.create_user("grace"))
        return entry

    TABLES = ("budget", "entry", "line", "reservation", "requestrecord", "budgetwarning", "webhook")

    @pytest.mark.parametrize("table", TABLES)
    def test_every_list_and_page_answers(self, admin_client: Client, books: Entry, table: str) -> None:
        listed = admin_client.get(f"{ADMIN}{table}/")
        assert listed.status_code == 200
        pages = set(re.findall(rf'href="({ADMIN}{table}/[^"/]+/change/)', listed.content.decode()))
        assert pages
        for page in pages:
            assert admin_client.get(page, follow=True).status_code == 200

    @pytest.mark.parametrize("table", ["budget", "entry", "line", "reservation", "requestrecord", "budgetwarning"])
    def test_nobody_adds_changes_or_deletes_there(self, admin_client: Client, books: Entry, table: str) -> None:
        assert admin_client.get(f"{ADMIN}{table}/add/").status_code == 403
        row = {
            "entry": books.pk,
            "reservation": books.reservation_id,
            "budget": Budget.objects.first().pk,
        }.get(table)
        if row is not None:
            assert admin_client.post(f"{ADMIN}{table}/{row}/delete/", {"post": "yes"}).status_code == 403
        assert Entry.objects.count() == 1
        assert Reservation.objects.count() == 1

    @pytest.mark.parametrize("table", ["entry", "reservation", "requestrecord"])
    def test_they_are_searched_by_account_key_and_request(
        self, admin_client: Client, books: Entry, key: ApiKey, table: str
    ) -> None:
        row = re.compile(rf"{ADMIN}{table}/[^/]+/change/")
        for term in ("chemistry", key.key_id, books.request_id):
            assert row.search(admin_client.get(f"{ADMIN}{table}/", {"q": term}).content.decode()), term
        for term in ("physics", "req_" + "0" * 32, "%"):
            assert not row.search(admin_client.get(f"{ADMIN}{table}/", {"q": term}).content.decode()), term

    def test_an_account_links_to_its_own_ledger(self, admin_client: Client, books: Entry, account: Account) -> None:
        page = admin_client.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
        ((address),) = re.findall(r'href="(/admin/accounts/entry/\?account=\d+)"', page)
        assert f"entry/{books.pk}/change/" in admin_client.get(address).content.decode()
        other = address.replace(str(account.pk), "999999")
        assert f"entry/{books.pk}/change/" not in admin_client.get(other).content.decode()
        assert admin_client.get(address.replace(str(account.pk), "nonsense")).status_code in (200, 302)

    @pytest.mark.parametrize("table", ["entry", "line", "reservation", "requestrecord"])
    def test_no_list_counts_a_whole_table(self, admin_client: Client, books: Entry, table: str) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            admin_client.get(f"{ADMIN}{table}/")
        counting = [q["sql"] for q in queries if "COUNT(*)" in q["sql"] and f"accounts_{table}" in q["sql"]]
        assert counting
        assert all("LIMIT 10000" in sql for sql in counting)


class TestWebhook:
    def test_its_secret_is_shown_once(self, admin_client: Client, account: Account) -> None:
        page = admin_client.post(
            f"{ADMIN}webhook/add/", {"account": account.pk, "url": "https://example.org/hook", "enabled": "on"}
        )
        webhook = Webhook.objects.get()
        assert webhook.secret.startswith("whsec_")
        assert webhook.secret in words(page)
        assert webhook.secret not in admin_client.get(f"{ADMIN}webhook/{webhook.pk}/change/").content.decode()

    def test_a_new_secret_is_asked_about_and_takes_the_place_of_the_old_one(self, admin_client: Client) -> None:
        webhook = Webhook.objects.create(url="https://example.org/hook", secret="old")
        address = f"{ADMIN}webhook/{webhook.pk}/secret/"
        assert "will take our calls for somebody else's" in words(admin_client.get(address))
        page = admin_client.post(address, {"confirmed": "yes"})
        webhook.refresh_from_db()
        assert webhook.secret != "old"
        assert webhook.secret in words(page)

    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("", "The address is missing"),
            ("nonsense here", "This is not an address; write it as https://example.org/hook."),
            ("ftp://example.org", "The address must start with https:// or http://."),
        ],
    )
    def test_it_rejects_what_is_no_address(self, admin_client: Client, url: str, sentence: str) -> None:
        assert sentence in words(admin_client.post(f"{ADMIN}webhook/add/", {"url": url}))
        assert not Webhook.objects.exists()
