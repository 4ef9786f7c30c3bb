"""The admin in a browser: a key's whole life on two gateways, a suspended account, a lockout, and clean pages."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import assert_no_sideways_scrolling, clipboard, newest
from tests.stack.running import SOON_S, Key, Stack, wait_until


def statuses(stack: Stack, secret: str) -> set[int]:
    """What the two gateways answer to the key."""
    headers = {"Authorization": f"Bearer {secret}"}
    return {httpx.get(f"{url}/v1/models", headers=headers).status_code for url in stack.gateways.values()}


def start_a_key(page: Page, account: str, label: str) -> None:
    page.goto("/admin/accounts/apikey/add/")
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name=account, exact=True).click()
    page.get_by_label("Label").fill(label)


def test_a_key_is_made_copied_once_used_and_revoked(admin: Page, stack: Stack) -> None:
    stack.issue_key("chemistry")
    start_a_key(admin, "chemistry", "made in a browser")
    admin.get_by_role("button", name="Save", exact=True).click()

    expect(admin.get_by_role("heading", name="You will not see it again")).to_be_visible()
    admin.get_by_role("button", name="Copy", exact=True).click()
    expect(admin.get_by_role("button", name="Copied")).to_be_visible()
    secret = clipboard(admin)
    assert secret == admin.locator("#secret").inner_text()
    assert statuses(stack, secret) == {200}

    admin.reload()  # neither shows the secret again nor makes a second key
    expect(admin.get_by_label("Label")).to_have_value("made in a browser")
    assert secret not in admin.content()
    admin.goto("/admin/accounts/apikey/?q=made+in+a+browser")
    expect(admin.locator("#result_list tbody tr")).to_have_count(1)
    assert secret not in admin.content()

    admin.get_by_role("link", name="made in a browser").click()
    admin.get_by_role("link", name="Revoke").click()
    expect(admin.get_by_text("1 working key will be refused with 401")).to_be_visible()
    assert statuses(stack, secret) == {200}  # it has only been asked
    admin.get_by_role("button", name="Revoke").click()
    expect(admin.get_by_text("Revoked 1 key.")).to_be_visible()
    wait_until(lambda: statuses(stack, secret) == {401}, limit_s=SOON_S, what="both gateways to refuse the key")
    expect(admin.get_by_role("link", name="Revoke")).to_have_count(0)


def test_keys_are_revoked_from_the_list(admin: Page, stack: Stack) -> None:
    keys = [stack.issue_key("physics", "--label", f"of the list {number}") for number in range(2)]
    admin.goto("/admin/accounts/apikey/?q=of+the+list")
    for box in admin.locator("#result_list input.action-select").all():
        box.check()
    admin.get_by_label("Select action to run").select_option(label="Revoke …")
    admin.get_by_role("button", name="Run").click()
    expect(admin.get_by_text("2 working keys will be refused with 401")).to_be_visible()
    admin.get_by_role("button", name="Revoke").click()
    expect(admin.get_by_text("Revoked 2 keys.")).to_be_visible()
    for key in keys:
        wait_until(lambda key=key: statuses(stack, key.secret) == {401}, limit_s=SOON_S)


def test_an_account_is_suspended_and_resumed(admin: Page, stack: Stack) -> None:
    key: Key = stack.issue_key("editors")
    assert statuses(stack, key.secret) == {200}
    admin.goto("/admin/accounts/account/")
    admin.get_by_role("link", name="editors").click()
    admin.get_by_role("link", name="Suspend").click()
    expect(admin.get_by_text("1 working key will be refused with 401")).to_be_visible()
    admin.get_by_role("button", name="Suspend").click()
    expect(admin.get_by_text("Suspended 1 account.")).to_be_visible()
    wait_until(lambda: statuses(stack, key.secret) == {401}, limit_s=SOON_S)

    admin.get_by_role("link", name="Resume").click()
    admin.get_by_role("button", name="Resume").click()
    expect(admin.get_by_text("Resumed 1 account.")).to_be_visible()
    wait_until(lambda: statuses(stack, key.secret) == {200}, limit_s=SOON_S)


def test_the_question_can_be_declined(admin: Page, stack: Stack) -> None:
    key = stack.issue_key("undecided")
    admin.goto("/admin/accounts/account/")
    admin.get_by_role("link", name="undecided").click()
    admin.get_by_role("link", name="Suspend").click()
    admin.get_by_role("link", name="No, go back").click()
    expect(admin.get_by_label("Name")).to_have_value("undecided")
    assert statuses(stack, key.secret) == {200}


def test_a_refused_form_says_what_is_wrong_beside_the_field(admin: Page, stack: Stack) -> None:
    stack.issue_key("chemistry")
    start_a_key(admin, "chemistry", "too late")
    admin.locator("#id_expires_at_0").fill("2020-01-01")
    admin.locator("#id_expires_at_1").fill("10:00")
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.get_by_text("This expiry has passed; choose a date in the future")).to_be_visible()


def test_too_many_wrong_passwords_lead_to_a_page_that_explains(page: Page) -> None:
    page.goto("/admin/login/")
    for _ in range(5):
        page.get_by_label("Username").fill("somebody else")
        page.get_by_label("Password").fill("wrong")
        with page.expect_navigation():
            page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Too many wrong passwords.")).to_be_visible()
    expect(page.get_by_text("locked from your address for 15 minutes")).to_be_visible()


PAGES = [
    "/admin/",
    "/admin/accounts/account/",
    "/admin/accounts/account/add/",
    "/admin/accounts/account/{account}/change/",
    "/admin/accounts/account/{account}/suspend/",
    "/admin/accounts/apikey/",
    "/admin/accounts/apikey/add/",
    "/admin/accounts/apikey/{key}/change/",
    "/admin/accounts/apikey/{key}/history/",
    "/admin/accounts/apikey/{key}/revoke/",
    "/admin/fleet/profile/",
    "/admin/fleet/profile/add/",
    "/admin/fleet/neuron/",
    "/admin/fleet/replica/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/{user}/change/",
    "/admin/auth/user/{user}/password/",
    "/admin/auth/group/add/",
    "/admin/password_change/",
]


def test_every_page_keeps_the_policy_and_fits_wide_and_narrow(admin: Page, stack: Stack) -> None:
    stack.issue_key("chemistry")
    tables = {"account": "accounts_account", "key": "accounts_apikey", "user": "auth_user"}
    rows = {name: newest(stack, table) for name, table in tables.items()}
    for address in PAGES:
        answer = admin.goto(address.format(**rows))
        assert answer is not None
        assert answer.status == 200, address
        for width in (390, 1280):
            admin.set_viewport_size({"width": width, "height": 900})
            assert_no_sideways_scrolling(admin)
