"""Fields and addresses that hold nonsense, or what nobody thought of: the page keeps its rules and its numbers."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

import maskwork as mw


def opened(page: Page, **asked: object) -> None:
    page.goto("/?" + urlencode({"mask": "causal", "length": 16} | asked))
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")


@pytest.mark.parametrize("name", ["__proto__.method", "constructor.prototype", "toString.call", "__proto__.row"])
def test_no_address_reaches_into_the_language(page: Page, name: str):
    opened(page, panel="softmax", **{name: "POST"})
    expect(page.locator("#panel table.steps")).to_be_visible()
    assert page.evaluate("() => [({}).method, ({}).row]") == [None, None]


@pytest.mark.parametrize("row", ["abc", "2.5", "-3", "1e3", "999999999999"])
def test_a_softmax_of_no_row_is_one_of_a_row(page: Page, row: str):
    opened(page, panel="softmax", **{"softmax.row": row, "softmax.fill": "toString"})
    expect(page.locator("#panel table.steps tbody tr")).to_have_count(16)
    expect(page.locator("#panel .verdict")).to_contain_text("✓")  # as −∞, the default, has it
    assert "native code" not in (page.locator("#panel").text_content() or "")


def test_a_softmax_of_queries_far_along(page: Page):
    opened(page, panel="softmax", q_len=8, q_start=100)
    query = page.get_by_role("spinbutton", name="query")
    query.fill("105")
    query.press("Enter")
    expect(page.locator("#panel .verdict")).to_contain_text("this row has no forbidden key")
    expect(query).to_have_value("105")
    page.locator("#length").focus()
    expect(query).to_have_value("105")


@pytest.mark.parametrize("step", ["2.5", "x", "-1", "1e9"])
def test_a_step_of_decoding_that_is_none(page: Page, step: str):
    opened(page, panel="play", **{"play.step": step})
    expect(page.locator("#panel table.numbers")).to_be_visible()
    expect(page.locator("#panel")).to_contain_text("keys.")


def test_numbers_of_the_grid_stay_within_bounds(page: Page):
    opened(page)
    page.get_by_text("Grid and tokens").click()
    queries = page.get_by_role("spinbutton", name="queries")
    for written, kept in (("1", "1"), ("-5", "1"), ("99999999", str(1 << 20))):
        queries.fill(written)
        queries.press("Enter")
        expect(queries).to_have_value(kept)


@pytest.mark.parametrize(
    ("mask", "field", "value", "wanted"),
    [
        ("sliding_window(007)", "sliding_window", 9, "sliding_window(9)"),
        ("band(3, 1) & sinks(2)", "sinks", 4, "band(3, 1) & sinks(4)"),
        ("causal.shift(q=-3, k=0)", "q", -1, "causal.shift(q=-1, k=0)"),
    ],
)
def test_sliders_write_whole_numbers(page: Page, mask: str, field: str, value: int, wanted: str):
    opened(page, mask=mask, panel="patterns")
    number = page.locator("#panel .slider", has=page.get_by_text(field, exact=True)).first.locator("input[type=number]")
    number.fill(str(value))
    number.press("Enter")
    expect(page.locator("#expression")).to_have_value(wanted)
    expect(page.locator("#facts")).to_contain_text(f"{mw.parse(wanted).bind(16).allowed} of 256")


def test_the_cost_of_a_mask_that_speaks_of_heads_is_of_as_many(page: Page):
    text = "per_head([causal, sliding_window(4)])"
    opened(page, mask=text, panel="cost")
    expect(page.get_by_role("spinbutton", name="query heads")).to_have_value("2")
    cost = mw.parse(text).bind(16).cost(layers=32, heads=2, kv_heads=2, head_dim=128, dtype="bfloat16")
    expect(page.locator("#panel table.bars").first).to_contain_text(f"{cost.flops / 1e6:.2f} MFLOP")
    page.locator("#expression").fill("causal")
    expect(page.get_by_role("spinbutton", name="query heads")).to_have_value("32")
