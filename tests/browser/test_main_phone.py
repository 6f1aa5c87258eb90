"""On a phone nothing is cut off: nothing is wider than the screen, and everything on it can be reached."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from .conftest import each_panel

#: What sticks out of the screen though nothing lets it be scrolled to.
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter((one) => {
    const { left, right, width } = one.getBoundingClientRect();
    const inside = left >= -0.5 && right <= innerWidth + 0.5;
    if (!width || inside || one.closest(".visually-hidden, [hidden]")) return false;
    for (let up = one.parentElement; up; up = up.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)) return false;
    return true;
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture
def phone(page: Page) -> Page:
    page.set_viewport_size({"width": 390, "height": 844})
    return page


def test_no_panel_is_wider_than_the_screen(phone: Page):
    phone.goto("/?" + urlencode({"length": 16, "cell": "9,2", "layers": 3, "text": "The cat ate the fish"}))
    phone.get_by_text("Grid and tokens").click()
    for name in each_panel(phone):  # which scrolls to its tab, and fails where that can't be reached
        assert phone.evaluate("() => document.scrollingElement.scrollWidth") <= 390, name
        assert phone.evaluate(OUTSIDE) == [], name


def test_the_matrix_is_large_enough_to_touch_and_its_cells_can_be_pinned(phone: Page):
    phone.goto("/?length=16")
    phone.wait_for_selector("#matrix[data-settled=true]", state="attached")
    cells = phone.locator(".cells")
    x, y, wide, zoom = (float(cells.get_attribute(f"data-{name}") or 0) for name in ("x", "y", "wide", "zoom"))
    assert wide >= 250
    phone.locator(".over").click(position={"x": x + 2.5 * zoom, "y": y + 5.5 * zoom})
    expect(phone.get_by_role("heading", name="query 5, key 2: allowed")).to_be_visible()


def test_a_mistake_and_the_tour_fit(phone: Page, faults: list[str]):
    phone.goto("/")
    expect(phone.get_by_role("dialog")).to_be_visible()
    assert phone.evaluate(OUTSIDE) == []
    phone.keyboard.press("Escape")
    phone.locator("#expression").fill("causal & sliding_window(4) & sinks(2) & band(3, 2) & slidng_window(9)")
    expect(phone.locator("#problem")).to_contain_text("^")
    assert phone.evaluate("() => document.scrollingElement.scrollWidth") <= 390
    faults.clear()
