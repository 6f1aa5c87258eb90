"""The field of the mask's text: names are completed, and a mistake moves nothing."""

from __future__ import annotations

from playwright.sync_api import Page, expect

import maskwork as mw

from .conftest import open_page


def test_a_name_is_completed_for_the_length_and_its_number_chosen(page: Page, faults: list[str]):
    open_page(page, length=32)
    box = page.locator("#expression")
    box.fill("")
    box.press_sequentially("wit")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value("within(causal | prefix(2), [10, 14, 8])")
    expect(page.locator("#facts")).to_contain_text(
        f"{mw.parse('within(causal | prefix(2), [10, 14, 8])').bind(32).allowed} of 1,024"
    )
    box.fill("")
    box.press_sequentially("slid")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("8")
    expect(box).to_have_value("sliding_window(8)")
    box.fill("")
    expect(page.locator("#problem")).to_contain_text("such as causal")
    assert all("422" in fault for fault in faults)
    faults.clear()


def test_a_mistake_moves_nothing_and_is_wrapped(page: Page, faults: list[str]):
    open_page(page, length=32)
    before = page.locator(".over").bounding_box()
    page.locator("#expression").fill(
        "within(causal & (sliding_window(8) | sinks(2)), [20, 10]) & causal & full & causal & full"
    )
    problem = page.locator("#problem")
    expect(problem).to_be_visible()
    assert page.locator(".over").bounding_box() == before
    assert problem.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    assert all("422" in fault for fault in faults)
    faults.clear()
