"""Money in a browser: a cap is set and changed, a key topped up, an entry refunded, an account's ledger read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import assert_no_sideways_scrolling, newest
from tests.stack.running import Key, Stack

#: Books two requests, as a gateway would, and prints the entry of the first.
BOOKINGS = """
from accounts.models import ApiKey
from tests.accounts.booked import use
key = ApiKey.objects.get(key_id="{key_id}")
entry = use(key, 1000, 500)
use(key, 20, 480)
print(entry.pk)
"""


@dataclass(frozen=True)
class Books:
    """An account with a key, both with caps, of which something was spent."""

    account: int
    key: int
    entry: int
    issued: Key

    def page(self, address: str) -> str:
        return f"/admin/accounts/{address}".format(account=self.account, key=self.key, entry=self.entry)


@pytest.fixture
def books(stack: Stack) -> Books:
    caps = ["--cap", "10000", "--cap-usd", "0.004", "--account-cap", "50000", "--account-window", "calendar:day"]
    issued = stack.issue_key("laboratory", "--label", "night run", *caps)
    entry = json.loads(stack.manage("shell", "-v", "0", "-c", BOOKINGS.format(key_id=issued.key_id)))
    ((account, key),) = stack.rows("SELECT account_id, id FROM accounts_apikey WHERE key_id = %s", issued.key_id)
    return Books(account, key, entry, issued)


def carry_on(page: Page, button: str) -> None:
    """From the form to the page that says what it would do, and from there to the deed."""
    page.get_by_role("button", name="Show what it does").click()
    page.get_by_role("button", name=button, exact=True).click()


def test_a_cap_is_set_changed_and_has_a_history(admin: Page, stack: Stack) -> None:
    stack.issue_key("newcomers")
    admin.goto("/admin/accounts/account/")
    admin.get_by_role("link", name="newcomers").click()
    admin.get_by_role("link", name="Set a cap").first.click()
    expect(admin.get_by_text("There is no cap in tokens now.")).to_be_visible()
    admin.get_by_label("Cap in tokens").fill("20,000")
    expect(admin.get_by_label("Time zone")).to_be_hidden()
    admin.get_by_label("Starts anew").select_option("month")
    admin.get_by_label("Time zone").fill("Europe/Berlin")
    admin.get_by_label("Reason").fill("first month")
    admin.get_by_role("button", name="Show what it does").click()
    expect(admin.get_by_text("20,000 tokens will be left.")).to_be_visible()
    admin.get_by_role("button", name="Set the cap").click()
    expect(admin.get_by_text("of 20,000 tokens spent")).to_be_visible()

    admin.get_by_role("link", name="Change the cap").click()
    admin.get_by_label("Cap in tokens").fill("fifty")
    admin.get_by_role("button", name="Show what it does").click()
    expect(admin.get_by_text("'fifty' is not a whole number of tokens; write it as 50000.")).to_be_visible()
    admin.get_by_label("Cap in tokens").fill("5000")
    admin.get_by_role("button", name="Show what it does").click()
    admin.get_by_role("button", name="Back to the form").click()
    expect(admin.get_by_label("Cap in tokens")).to_have_value("5000")
    carry_on(admin, "Set the cap")
    expect(admin.get_by_text("of 5,000 tokens spent")).to_be_visible()

    admin.locator(".hx-meter").first.get_by_role("link", name="History").click()
    expect(admin.get_by_text("Cap: 20,000 tokens → 5,000 tokens")).to_be_visible()
    expect(admin.get_by_text("first month")).to_be_visible()


def test_a_key_shows_what_is_spent_and_is_topped_up(admin: Page, books: Books) -> None:
    admin.goto(books.page("apikey/{key}/change/"))
    tokens = admin.locator(".hx-meter").first
    expect(tokens).to_contain_text("2,000 tokens of 10,000 tokens spent")
    expect(tokens).to_contain_text("8,000 tokens left")
    tokens.get_by_role("link", name="Top up").click()
    admin.get_by_label("By how many tokens").fill("5000")
    admin.get_by_label("Reason").fill("invoice 1207")
    carry_on(admin, "Top up")
    expect(admin.get_by_text("was topped up by 5,000 tokens.")).to_be_visible()
    expect(tokens).to_contain_text("2,000 tokens of 15,000 tokens spent")
    expect(admin.locator(".hx-ledger li").first).to_contain_text("invoice 1207")


def test_an_entry_is_found_in_the_ledger_of_its_account_and_refunded(admin: Page, books: Books) -> None:
    admin.goto(books.page("account/{account}/change/"))
    admin.get_by_role("link", name="The whole ledger").click()
    admin.get_by_role("link", name=str(books.entry), exact=True).click()
    admin.get_by_role("link", name="Refund").click()
    admin.get_by_label("Tokens").fill("500")
    admin.get_by_label("Dollars").fill("")
    admin.get_by_role("button", name="Show what it does").click()
    expect(admin.get_by_text("A refund needs a reason; it stays on the books.")).to_be_visible()
    admin.get_by_label("Reason").fill("half of it was gibberish")
    admin.get_by_role("button", name="Show what it does").click()
    expect(admin.get_by_text("500 tokens become free again in the cap of laboratory.")).to_be_visible()
    admin.get_by_role("button", name="Refund", exact=True).click()
    expect(admin.get_by_text("Gave back 500 tokens and 0.00 USD.")).to_be_visible()
    admin.goto(books.page("account/{account}/change/"))
    expect(admin.locator(".hx-ledger li").first).to_contain_text("-500 tokens")


def test_the_secret_of_a_webhook_is_shown_once(admin: Page, stack: Stack) -> None:
    admin.goto("/admin/accounts/webhook/add/")
    admin.get_by_label("Address").fill("https://example.org/hook")
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.get_by_role("heading", name="You will not see it again")).to_be_visible()
    secret = admin.locator("#secret").inner_text()
    assert secret.startswith("whsec_")
    admin.reload()
    expect(admin.get_by_label("Address")).to_have_value("https://example.org/hook")
    assert secret not in admin.content()


PAGES = [
    "account/{account}/change/",
    "account/{account}/cap/tokens/",
    "account/{account}/close/",
    "apikey/{key}/change/",
    "apikey/{key}/cap/nano_usd/",
    "apikey/{key}/topup/tokens/",
    "budget/",
    "budget/{budget}/history/",
    "entry/",
    "entry/?account={account}",
    "entry/{entry}/change/",
    "entry/{entry}/refund/",
    "line/",
    "reservation/",
    "requestrecord/",
    "budgetwarning/",
    "webhook/",
    "webhook/add/",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_keeps_the_policy_and_fits_wide_and_narrow(
    admin: Page, stack: Stack, books: Books, scheme: Literal["light", "dark"]
) -> None:
    admin.emulate_media(color_scheme=scheme)
    for address in PAGES:
        page = books.page(address.replace("{budget}", str(newest(stack, "accounts_budget"))))
        answer = admin.goto(page)
        assert answer is not None
        assert answer.status == 200, page
        for width in (390, 1280):
            admin.set_viewport_size({"width": width, "height": 900})
            assert_no_sideways_scrolling(admin)
