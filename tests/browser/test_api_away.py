"""A server that dies and comes back costs the page nothing but the wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

import maskwork as mw

from .conftest import Server, watch


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A server of this test's own."""
    running = Server()
    yield running
    running.end()


def test_a_dead_server_is_said_and_one_that_came_back_goes_on(browser: Browser, mortal: Server):
    faults: list[str] = []
    with browser.new_context(base_url=mortal.address) as context:
        page = context.new_page()
        watch(page, mortal, faults)
        page.goto("/?length=40&panel=cost&cost.head_dim=64&theme=dark")
        expect(page.locator("#facts")).to_contain_text("40 × 40")
        away = page.locator("#away")
        expect(away).to_be_hidden()
        page.wait_for_selector("#matrix[data-settled=true]", state="attached")
        page.wait_for_load_state("networkidle")
        mortal.end()
        page.locator("#length").fill("50")
        page.locator("#length").press("Enter")
        expect(away).to_be_visible()
        expect(away).to_contain_text("Reconnecting")
        # what is changed meanwhile is answered later
        page.get_by_label("head dim").fill("32")
        page.get_by_label("head dim").press("Enter")
        page.get_by_role("tab", name="Why").click()
        page.locator(".over").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.locator("#expression").fill("causal")
        back = Server(mortal.port)
        try:
            expect(away).to_be_hidden()
            expect(page.locator("#facts")).to_contain_text(f"{mw.causal().bind(50).allowed:,} of 2,500")
            expect(page.locator("#expression")).to_have_value("causal")
            page.get_by_role("tab", name="Cost").click()
            expect(page.get_by_label("head dim")).to_have_value("32")
            expect(page.locator("html")).to_have_attribute("data-theme", "dark")
            page.wait_for_selector("#matrix[data-settled=true]", state="attached")
        finally:
            back.end()
    # A server that ends refuses the requests that still wait, with 503, and cuts off answers that are under way.
    lost = ("ERR_CONNECTION", "ERR_EMPTY", "ERR_SOCKET", "ERR_INCOMPLETE", "ERR_CONTENT_LENGTH", "status of 503")
    other = [fault for fault in faults if not any(sign in fault for sign in lost)]
    assert not other, other
