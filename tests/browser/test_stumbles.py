"""What users stumble over: fields and addresses that hold nonsense, names to complete, room to fill, words to show."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

import maskwork as mw

from .conftest import Server


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


def test_a_name_is_completed_for_the_length_and_its_number_chosen(page: Page, faults: list[str]):
    opened(page, length=32)
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
    opened(page, length=32)
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


def test_the_small_map_is_dragged(page: Page):
    opened(page, length=5000, view="0,0,4")
    small = page.locator(".mini").bounding_box()
    assert small is not None
    seen = []
    page.mouse.move(small["x"] + 20, small["y"] + 20)
    page.mouse.down()
    for far in (40, 80):
        page.mouse.move(small["x"] + far, small["y"] + far)
        page.wait_for_function(
            "(far) => Math.abs(document.querySelector('.cells').dataset.q / 5000 * 96 - far) < 4", arg=far
        )
        seen.append(float(page.locator(".cells").get_attribute("data-q") or 0))
    page.mouse.up()
    assert seen[0] < seen[1]


def test_depth_says_how_many_layers_it_takes(page: Page):
    opened(page, mask="sliding_window(16)", length=128, panel="depth", layers=6, cell="100,0")
    expect(page.locator("#panel .verdict")).to_contain_text("Not through 6 layers. It takes 7.")
    opened(page, mask="document([64, 64])", length=128, panel="depth", layers=6, cell="100,0")
    expect(page.locator("#panel .verdict")).to_have_text("✗ Not through 6 layers.")


@pytest.mark.parametrize("n", [577, 600, 700, 1500, 5000, 100_000])
def test_the_whole_fills_its_room(page: Page, n: int):
    opened(page, length=n)
    wide, room = page.evaluate("() => [Number(document.querySelector('.cells').dataset.wide), "
                               "document.querySelector('#matrix').clientWidth]")  # fmt: skip
    high = page.evaluate("() => document.querySelector('#matrix').clientHeight")
    assert wide >= 0.85 * (min(room, high) - 80)  # what is left by the axes


def test_the_pointer_names_the_first_cell_of_a_pixel_whose_edge_is_between_cells(page: Page):
    opened(page, length=600)
    cells = page.locator(".cells")
    x, y, zoom = (float(cells.get_attribute(f"data-{name}") or 0) for name in ("x", "y", "zoom"))
    step = 1 / zoom
    assert 1 < step < 1.5
    for pixel in (0, 7, 8, 9, 400):
        page.locator(".over").hover(position={"x": x + pixel + 0.4, "y": y + pixel + 0.4})
        at = int(pixel * round(step * 8) / 8)
        expect(page.locator("#panel h2")).to_have_text(f"query {at}, key {at}: allowed")


def test_words_are_named_where_a_cell_is_explained(page: Page):
    opened(page, length=5, text="The cat ate the fish", cell="4,1")
    expect(page.locator("#panel h2")).to_have_text("query 4 “fish”, key 1 “cat”: allowed")


def test_a_frame_that_keeps_nothing_shows_the_page_all_the_same(page: Page, server: Server):
    page.add_init_script("""
        for (const name of ["sessionStorage", "localStorage"])
            Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
    """)
    page.goto(f"/?panel=model#token={server.token}")
    page.get_by_role("button", name="keeps the mask").click()
    expect(page.locator("#panel .verdict")).to_contain_text("0 (exactly)")
