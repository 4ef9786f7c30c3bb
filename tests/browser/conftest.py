"""A real Chromium in front of two real gateways. Signed in or not, every page must keep its console clean."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright
from psycopg.sql import SQL, Identifier

from tests.stack.running import PATIENCE_S, Stack, a_database, wait_until

#: A Redis number that no worker of pytest-xdist has (tests/servers.py).
REDIS_NUMBER = 17

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--disable-gpu", "--disable-background-networking", "--no-first-run"]

USER, PASSWORD = "ada", "a good long password"


@pytest.fixture(scope="package")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip("no Chromium on PATH; get one with `apt-get install chromium`")
    return found


# The browser's fixtures end with this package: Playwright keeps an event loop running in the thread of the tests, and
# no asyncio test could run beside it.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_S * 1000)
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="package")
def stack(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two gateways on a database and a Redis number of their own, without a neuron."""
    folder = tmp_path_factory.mktemp("browser")
    redis_url = f"{os.environ['REDIS_URL'].rsplit('/', 1)[0]}/{REDIS_NUMBER}"
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with a_database() as database_url:
        places = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "HELEXA_HOME": str(folder / "home")}
        running = Stack(folder, {**os.environ, **places, "DJANGO_SUPERUSER_PASSWORD": PASSWORD})
        running.manage("migrate", "--verbosity", "0")
        running.manage("createsuperuser", "--no-input", "--username", USER, "--email", "ada@example.org")
        try:
            for name in ("first", "second"):
                start_gateway(running, name)
            yield running
        finally:
            running.stop()


def start_gateway(stack: Stack, name: str) -> None:
    """One more Daphne; it answers long before it is ready, for there is no neuron."""
    url = stack.start_gateway("daphne", name=name)
    wait_until(lambda: answers(url), what=f"the {name} gateway to answer")


@pytest.fixture
def site(stack: Stack) -> str:
    return stack.gateways["first"]


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    opened = browser.new_context(base_url=site, viewport={"width": 1280, "height": 900})
    opened.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    opened.set_default_timeout(PATIENCE_S * 1000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that may log nothing, break no policy and miss no file."""
    opened = context.new_page()
    complaints = watch(opened)
    yield opened
    assert complaints == []


def watch(page: Page) -> list[str]:
    """What the page complains of from now on. Tests look at documents and /health themselves."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            complaints.append(f"{page.url}: {message.text}")

    def on_response(response: Response) -> None:
        judged_elsewhere = response.request.is_navigation_request() or urlsplit(response.url).path == "/health"
        if response.status >= 400 and not judged_elsewhere:
            complaints.append(f"{page.url}: {response.status} for {response.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("response", on_response)
    return complaints


@pytest.fixture
def admin(page: Page) -> Page:
    """The page, signed in to the admin."""
    sign_in(page)
    return page


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def assert_no_sideways_scrolling(page: Page) -> None:
    wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, f"{page.url} is {wide} pixels wide in a window of {room}"


def sign_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")


def newest(stack: Stack, table: str) -> int:
    """The primary key of a table's newest row."""
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        row = connection.execute(SQL("SELECT max(id) FROM {}").format(Identifier(table))).fetchone()
    assert row is not None
    return int(row[0])


def answers(url: str) -> bool:
    return httpx.get(f"{url}/health?live=1").status_code == 200
