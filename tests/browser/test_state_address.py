"""The address says all that the page shows: it can be reloaded, shared, and gone back from."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

import maskwork as mw

from .conftest import Server

MASK = "causal & (sliding_window(6) | sinks(1))"


def shown(page: Page) -> dict[str, object]:
    """What can be seen to depend on the state."""
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")
    cells = page.locator(".cells")
    return {
        "mask": page.locator("#expression").input_value(),
        "length": page.locator("#length").input_value(),
        "facts": page.locator("#facts").text_content(),
        "tab": page.get_by_role("tab", selected=True).text_content(),
        "view": [cells.get_attribute(f"data-{name}") for name in ("q", "k", "zoom", "step")],
        "theme": page.locator("html").get_attribute("data-theme"),
        "fields": page.locator(".controls input").evaluate_all("(all) => all.map((one) => one.value)"),
    }


def test_what_was_set_is_there_after_a_reload_and_in_another_browser(page: Page, browser: Browser, server: Server):
    page.goto("/?length=64")
    page.locator("#expression").fill(MASK)
    expect(page.locator("#facts")).to_contain_text(f"{mw.parse(MASK).bind(64).allowed} of 4,096")
    page.locator("#length").fill("200")
    page.locator("#length").press("Enter")
    expect(page.locator("#facts")).to_contain_text("200 × 200")
    page.locator("#theme").click()
    page.get_by_text("Grid and tokens").click()
    page.get_by_role("spinbutton", name="queries").fill("150")
    page.get_by_label("q_start").fill("40")
    page.get_by_label("q_start").press("Enter")
    expect(page.locator("#facts")).to_contain_text("150 × 200")
    page.get_by_role("tab", name="Cost").click()
    page.get_by_label("head dim").fill("64")
    page.get_by_label("head dim").press("Enter")
    page.locator(".over").focus()
    for key in ("+", "+", "+", "ArrowDown", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    # The address is replaced, not navigated to, and a little later: it is asked again and again.
    for words in ("view=", "cell=", r"cost\.head_dim=64"):
        expect(page).to_have_url(re.compile(words))
    page.wait_for_timeout(400)  # while something is dragged the address follows at most four times a second
    before, url = shown(page), page.url
    query = parse_qs(urlsplit(url).query)
    assert query["mask"] == [MASK]
    assert query["q_start"] == ["40"]
    page.reload()
    expect(page.get_by_label("head dim")).to_have_value("64")
    expect(page.locator("#facts")).to_contain_text("150 × 200")
    assert shown(page) == before
    assert page.url == url
    with browser.new_context(base_url=server.address, viewport={"width": 1280, "height": 800}) as context:
        elsewhere = context.new_page()
        elsewhere.goto(url)
        expect(elsewhere.get_by_label("head dim")).to_have_value("64")
        expect(elsewhere.locator("#facts")).to_contain_text("150 × 200")
        assert shown(elsewhere) == before


def test_a_mask_that_is_not_yet_read_survives_a_change_of_length(page: Page):
    page.goto("/?length=64")
    page.locator("#expression").fill(MASK)
    page.locator("#length").fill("200")
    page.locator("#length").press("Enter")
    expect(page.locator("#facts")).to_contain_text(f"{mw.parse(MASK).bind(200).allowed:,} of 40,000")
    expect(page.locator("#expression")).to_have_value(MASK)


def test_the_back_button_undoes_one_thing_after_the_other(page: Page):
    page.goto("/?length=16")
    page.get_by_role("tab", name="Depth").click()
    page.get_by_role("tab", name="Cost").click()
    page.locator("#expression").fill("causal")
    expect(page.locator("#facts")).to_contain_text("136 of 256")
    page.locator("#expression").blur()
    page.go_back()
    expect(page.locator("#expression")).to_have_value("causal & (sliding_window(8) | sinks(2))")
    expect(page.get_by_role("tab", name="Cost")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_role("tab", name="Depth")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_role("tab", name="Why")).to_have_attribute("aria-selected", "true")
    page.go_forward()
    expect(page.get_by_role("heading", name="Through many layers")).to_be_visible()


@pytest.mark.parametrize(
    "asked",
    [
        {"length": "-3", "view": "a,b,c", "cell": "1", "panel": "nothing", "theme": "pink", "b": "x"},
        {"length": str(10**12), "view": "9e99,-5,1e-30", "layers": "1e3", "q_len": "0"},
        {"view": "0,0,0", "cell": "-4,-9", "heads": "9999"},
    ],
)
def test_an_address_that_says_nonsense_shows_the_page_all_the_same(page: Page, asked: dict[str, str]):
    page.goto("/?" + urlencode(asked))
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")
    expect(page.locator("#facts")).to_contain_text("32 × 32")
    expect(page.get_by_role("tab", name="Why")).to_have_attribute("aria-selected", "true")


def test_the_token_is_taken_off_the_address(page: Page, server: Server):
    page.goto(f"/?length=8#token={server.token}")
    expect(page.locator("#facts")).to_contain_text("8 × 8")
    assert server.token not in page.url
    assert page.evaluate("() => sessionStorage.getItem('maskwork-token')") == server.token


def test_what_is_typed_is_text_and_never_markup(page: Page, faults: list[str]):
    page.goto("/?" + urlencode({"mask": "causal<img src=x onerror=alert(1)>", "text": "<b>a</b> <img src=x>"}))
    expect(page.get_by_role("alert").first).to_contain_text("<img src=x")
    assert page.locator("img").count() == 0
    page.close()  # no complaint comes after this: the picture is refused too
    assert all("422" in fault for fault in faults)
    faults.clear()
