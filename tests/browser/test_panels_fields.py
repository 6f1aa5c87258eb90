"""Fields of the panels that hold nonsense, and what the panels say beside their numbers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

import maskwork as mw

from .conftest import open_page


@pytest.mark.parametrize("row", ["abc", "2.5", "-3", "1e3", "999999999999"])
def test_a_softmax_of_no_row_is_one_of_a_row(page: Page, row: str):
    open_page(page, panel="softmax", **{"softmax.row": row, "softmax.fill": "toString"})
    expect(page.locator("#panel table.steps tbody tr")).to_have_count(16)
    expect(page.locator("#panel .verdict")).to_contain_text("✓")  # as −∞, the default, has it
    assert "native code" not in (page.locator("#panel").text_content() or "")


def test_a_softmax_of_queries_far_along(page: Page):
    open_page(page, panel="softmax", q_len=8, q_start=100)
    query = page.get_by_role("spinbutton", name="query")
    query.fill("105")
    query.press("Enter")
    expect(page.locator("#panel .verdict")).to_contain_text("this row has no forbidden key")
    expect(query).to_have_value("105")
    page.locator("#length").focus()
    expect(query).to_have_value("105")


@pytest.mark.parametrize("step", ["2.5", "x", "-1", "1e9"])
def test_a_step_of_decoding_that_is_none(page: Page, step: str):
    open_page(page, panel="play", **{"play.step": step})
    expect(page.locator("#panel table.numbers")).to_be_visible()
    expect(page.locator("#panel")).to_contain_text("keys.")


def test_the_cost_of_a_mask_that_speaks_of_heads_is_of_as_many(page: Page):
    text = "per_head([causal, sliding_window(4)])"
    open_page(page, mask=text, panel="cost")
    expect(page.get_by_role("spinbutton", name="query heads")).to_have_value("2")
    cost = mw.parse(text).bind(16).cost(layers=32, heads=2, kv_heads=2, head_dim=128, dtype="bfloat16")
    expect(page.locator("#panel table.bars").first).to_contain_text(f"{cost.flops / 1e6:.2f} MFLOP")
    page.locator("#expression").fill("causal")
    expect(page.get_by_role("spinbutton", name="query heads")).to_have_value("32")


def test_depth_says_how_many_layers_it_takes(page: Page):
    open_page(page, mask="sliding_window(16)", length=128, panel="depth", layers=6, cell="100,0")
    expect(page.locator("#panel .verdict")).to_contain_text("Not through 6 layers. It takes 7.")
    open_page(page, mask="document([64, 64])", length=128, panel="depth", layers=6, cell="100,0")
    expect(page.locator("#panel .verdict")).to_have_text("✗ Not through 6 layers.")


def test_words_are_named_where_a_cell_is_explained(page: Page):
    open_page(page, length=5, text="The cat ate the fish", cell="4,1")
    expect(page.locator("#panel h2")).to_have_text("query 4 “fish”, key 1 “cat”: allowed")
