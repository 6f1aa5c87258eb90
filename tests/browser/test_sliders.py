"""Sliders write their numbers into the mask's text."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

import maskwork as mw

from .conftest import open_page


@pytest.mark.parametrize(
    ("mask", "field", "value", "wanted"),
    [
        ("sliding_window(007)", "sliding_window", 9, "sliding_window(9)"),
        ("band(3, 1) & sinks(2)", "sinks", 4, "band(3, 1) & sinks(4)"),
        ("causal.shift(q=-3, k=0)", "q", -1, "causal.shift(q=-1, k=0)"),
    ],
)
def test_sliders_write_whole_numbers(page: Page, mask: str, field: str, value: int, wanted: str):
    open_page(page, mask=mask, panel="patterns")
    number = page.locator("#panel .slider", has=page.get_by_text(field, exact=True)).first.locator("input[type=number]")
    number.fill(str(value))
    number.press("Enter")
    expect(page.locator("#expression")).to_have_value(wanted)
    expect(page.locator("#facts")).to_contain_text(f"{mw.parse(wanted).bind(16).allowed} of 256")
