"""The page works by keyboard alone."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

import maskwork as mw
from maskwork.errors import MaskError

MASK = "causal & (sliding_window(6) | sinks(1))"


def opened(page: Page, **asked: object) -> None:
    page.goto("/?" + urlencode({"mask": MASK, "length": 16} | asked))
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")


def address(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def zoom(page: Page) -> float:
    # A frame later the picture follows the state.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return float(page.locator(".cells").get_attribute("data-zoom") or 0)


def test_arrows_walk_over_the_cells_enter_pins_and_escape_lets_go(page: Page):
    opened(page)
    page.locator(".over").focus()
    said = page.locator("#live")
    for key, at in [("ArrowDown", (0, 0)), ("ArrowUp", (0, 0)), ("ArrowDown", (1, 0)), ("ArrowRight", (1, 1)),
                    ("ArrowRight", (1, 2)), ("ArrowLeft", (1, 1)), ("ArrowDown", (2, 1))]:  # fmt: skip
        page.keyboard.press(key)
        expect(said).to_have_text(f"query {at[0]}, key {at[1]}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="query 2, key 1: allowed")).to_be_visible()
    assert address(page)["cell"] == ["2,1"]
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "cell=" not in url)


def test_the_cursor_stays_in_the_matrix_and_in_sight(page: Page):
    opened(page, length=5000, view="0,0,16")
    page.locator(".over").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    q = int((page.locator("#live").text_content() or "").split(",")[0].removeprefix("query "))
    assert q == 16  # the first press finds the cursor, each other goes on by 128 pixels: 8 cells of 16
    for _ in range(12):
        page.keyboard.press("Shift+ArrowDown")
    zoom(page)
    first = float(page.locator(".cells").get_attribute("data-q") or -1)
    shown = float(page.locator(".cells").get_attribute("data-high") or 0) / 16
    assert first <= 112 < first + shown
    assert first > 0
    for _ in range(20):
        page.keyboard.press("Shift+ArrowUp")
    expect(page.locator("#live")).to_have_text("query 0, key 0")


def test_plus_and_minus_zoom_and_0_shows_all(page: Page):
    opened(page, length=300)
    page.locator(".over").focus()
    whole = zoom(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    near = zoom(page)
    assert near > whole
    page.keyboard.press("-")
    assert whole < zoom(page) < near
    page.wait_for_url(lambda url: "view=" in url)
    page.keyboard.press("0")
    assert zoom(page) == whole
    page.wait_for_url(lambda url: "view=" not in url)
    page.keyboard.press("-")
    assert zoom(page) == whole  # no further out than all of it


def test_tabs_by_arrows(page: Page):
    opened(page)
    tabs = page.get_by_role("tab")
    names = tabs.all_text_contents()
    assert len(names) == 9
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tabs.nth(1)).to_be_focused()
    expect(tabs.nth(1)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", name="From scores to weights")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(tabs.last).to_be_focused()
    expect(page.get_by_role("heading", name="Export")).to_be_visible()
    assert page.get_by_role("tab", selected=True).all_text_contents() == [names[-1]]
    # one stop for all tabs; the next is the panel
    page.keyboard.press("Tab")
    expect(page.locator("#panel")).to_be_focused()


def test_radio_buttons_by_arrows(page: Page):
    opened(page, panel="softmax", cell="9,2")
    page.get_by_role("radio", checked=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="finfo.min")).to_be_focused()
    expect(page.get_by_role("radio", name="finfo.min")).to_be_checked()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="−1", exact=True)).to_be_checked()
    expect(page.locator(".verdict")).to_contain_text("of the weight is on forbidden keys")


def test_suggestions_by_keyboard(page: Page, faults: list[str]):
    opened(page)
    box = page.locator("#expression")
    box.fill("")
    box.press_sequentially("sli")
    options = page.locator("#suggestions [role=option]")
    expect(options).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-activedescendant", "suggestion-0")
    page.keyboard.press("Enter")
    expect(box).to_have_value("sliding_window(4)")
    expect(page.locator("#suggestions")).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text(f"{mw.sliding_window(4).bind(16).allowed} of 256 pairs")
    # where typing was slow, half a word was read and refused
    assert all("422" in fault for fault in faults)
    faults.clear()


@pytest.mark.parametrize("text", ["causal & slidng_window(4)", "causal &", "causal & (sinks(1)", "sinks(-1)"])
def test_a_mistake_has_a_caret_and_leaves_the_picture(page: Page, faults: list[str], text: str):
    opened(page)
    facts = page.locator("#facts").text_content()
    box = page.locator("#expression")
    box.fill(text)
    with pytest.raises(MaskError) as mistake:
        mw.parse(text)
    problem = page.get_by_role("alert").first
    expect(problem).to_have_text(str(mistake.value))
    assert "^" in str(mistake.value)
    expect(box).to_have_attribute("aria-invalid", "true")
    assert page.locator("#facts").text_content() == facts
    assert address(page)["mask"] == [MASK]
    box.press("Escape")
    expect(box).to_have_value(MASK)
    expect(problem).to_be_hidden()
    # what the server refuses is a line of the console too
    assert all("422" in fault for fault in faults)
    faults.clear()
