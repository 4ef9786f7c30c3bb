"""The front page in a browser: is it ready, the lines to copy, the keyboard, narrow and dark."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import assert_no_sideways_scrolling, clipboard, watch
from tests.stack.running import Stack


def test_it_works(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_title("helexa: language models inside a budget")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_it_says_why_it_is_not_ready_and_notices_when_it_is(page: Page, stack: Stack) -> None:
    page.goto("/")
    status = page.get_by_role("status")
    expect(status).to_have_text("Not ready")
    expect(page.locator("[data-health-reasons]")).to_contain_text("No neuron is healthy.")
    stack.start_neuron()
    expect(status).to_have_text("Ready, with 1 healthy neuron", timeout=60_000)
    page.context.set_offline(True)
    expect(status).to_have_text("Not ready")
    expect(page.locator("[data-health-reasons]")).to_have_text("This page cannot reach the gateway.")
    page.context.set_offline(False)
    expect(status).to_have_text("Ready, with 1 healthy neuron")


def test_lines_are_copied_with_the_address_of_the_page(page: Page, site: str) -> None:
    page.goto("/")
    page.get_by_role("button", name="Copy the line that lists models").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert clipboard(page).startswith(f"curl {site}/v1/models")
    page.get_by_role("button", name="Copy the base URL").click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    assert clipboard(page) == f"{site}/v1"
    expect(page.get_by_role("button", name="Copied")).to_have_count(0)


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    copy = page.get_by_role("button", name="Copy the line that sets the key")
    copy.focus()
    page.keyboard.press("Enter")
    assert clipboard(page).startswith("export OPENAI_API_KEY=")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_is_legible(browser: Browser, site: str, width: int, scheme: Literal["light", "dark"]) -> None:
    page = browser.new_page(base_url=site, viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints = watch(page)
    for address in ("/", "/nothing"):
        page.goto(address)
        assert_no_sideways_scrolling(page)
        assert least_contrast(page) >= 4.5  # WCAG AA
    page.close()
    assert complaints == []


def least_contrast(page: Page) -> float:
    """The lowest contrast of any text on the page with what lies behind it."""
    ratio: float = page.evaluate(
        """() => {
          const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
          const light = (c) => c.slice(0, 3)
            .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const behind = (element) => {
            for (let e = element; e; e = e.parentElement) {
              const colour = numbers(getComputedStyle(e).backgroundColor);
              if (colour.length === 3 || colour[3] === 1) return colour;
            }
            throw new Error("nothing is behind the text");
          };
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          let least = 21;
          while (walker.nextNode()) {
            const element = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || element.closest("noscript, script")) continue;
            const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
            least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
          }
          return least;
        }"""
    )
    return ratio
