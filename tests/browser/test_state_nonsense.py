"""Addresses that hold nonsense, and a frame that stores nothing, show the page all the same."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .conftest import Server, open_page


@pytest.mark.parametrize("name", ["__proto__.method", "constructor.prototype", "toString.call", "__proto__.row"])
def test_no_address_reaches_into_the_language(page: Page, name: str):
    open_page(page, panel="softmax", **{name: "POST"})
    expect(page.locator("#panel table.steps")).to_be_visible()
    assert page.evaluate("() => [({}).method, ({}).row]") == [None, None]


def test_a_frame_that_keeps_nothing_shows_the_page_all_the_same(page: Page, server: Server):
    page.add_init_script("""
        for (const name of ["sessionStorage", "localStorage"])
            Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
    """)
    page.goto(f"/?panel=model#token={server.token}")
    page.get_by_role("button", name="keeps the mask").click()
    expect(page.locator("#panel .verdict")).to_contain_text("0 (exactly)")
