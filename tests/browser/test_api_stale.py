"""An answer that is late, refused, or of an earlier state never stands for what is asked now."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Error, Page, Route, expect

import maskwork as mw
from helpers.small_models import IDS, write_run

from .conftest import Server

#: Go to another address without loading the page, as the back button does.
GO = """(address) => {
    history.pushState(null, "", address);
    dispatchEvent(new PopStateEvent("popstate"));
}"""


def opened(page: Page, **asked: object) -> None:
    page.goto("/?" + urlencode({"mask": "causal", "length": 16} | asked))
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")


def held(page: Page, question: str) -> Callable[[], None]:
    """Answers to this question are kept back from now on, until what is returned is called."""
    kept: list[Route] = []
    page.route(f"**/api/{question}?*", lambda route: kept.append(route))

    def release() -> None:
        for route in kept:
            with contextlib.suppress(Error):  # the page has given it up
                route.continue_()
        page.unroute(f"**/api/{question}?*")

    return release


def write(page: Page, mask: str) -> None:
    page.locator("#expression").fill(mask)


@pytest.mark.parametrize("panel", ["depth", "compare", "why"])
def test_a_mask_of_fewer_heads_is_drawn_at_any_head(page: Page, panel: str):
    per_head = "per_head([causal, sliding_window(4)])"
    opened(page, mask=per_head, h=1, panel=panel, layers=2, other="full", view="0,0,8")
    expect(page.locator("#matrix > .notice")).to_be_hidden()
    if panel != "why":
        return
    write(page, "full")
    expect(page.locator("#facts")).to_contain_text("256 of 256")
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")
    expect(page.locator("#matrix > .notice")).to_be_hidden()


def test_a_picture_that_is_refused_says_so_where_it_would_be(page: Page, faults: list[str]):
    opened(page, mask="per_head([causal, sliding_window(4)])", h=2)
    with pytest.raises(mw.errors.MaskworkError) as refused:
        mw.parse("per_head([causal, sliding_window(4)])").bind(16).grid.check_plane(0, 2)
    notice = page.locator("#matrix > .notice")
    expect(notice).to_have_text(str(refused.value))
    page.get_by_text("Grid and tokens").click()
    page.get_by_label("head").fill("1")
    page.get_by_label("head").press("Enter")
    expect(notice).to_be_hidden()
    assert all("422" in fault for fault in faults)
    faults.clear()


def test_a_panel_that_was_closed_meanwhile_asks_again(page: Page):
    opened(page, mask="sliding_window(3)", panel="depth", layers=4, cell="9,3")
    expect(page.locator("#panel .verdict")).to_contain_text("In 3 of 4 layers")
    page.get_by_role("tab", name="Why").click()
    write(page, "sliding_window(2)")
    page.wait_for_url("**/?*mask=sliding_window*282*29*")
    page.evaluate("""() => {
        document.querySelector(".over").focus();
        document.getElementById("tab-depth").click();
        document.getElementById("tab-why").click();
    }""")
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    page.evaluate("() => new Promise((done) => setTimeout(done, 300))")  # in which the panel would have asked wrongly
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_contain_text("query 9, key 0")
    page.get_by_role("tab", name="Depth").click()
    expect(page.locator("#panel .verdict")).to_contain_text("Not through 4 layers")
    page.get_by_role("spinbutton", name="layers").fill("9")
    page.get_by_role("spinbutton", name="layers").press("Enter")
    expect(page.locator("#panel .verdict")).to_contain_text("In 9 of 9 layers")


def test_an_audit_of_another_mask_is_not_shown(page: Page, server: Server, tmp_path):
    write_run(tmp_path, "ahead", "causal | band(0, 1)")
    asked = {"model.path": tmp_path / "ahead", "model.prompt": " ".join(map(str, IDS)), "model.kind": "ids"}
    page.goto("/?" + urlencode({"mask": "causal", "panel": "model"} | asked) + f"#token={server.token}")
    page.get_by_role("button", name="Show its weights").click()
    expect(page.locator("#panel .verdict")).to_contain_text("on 11 of 66 such cells")
    kept: list[Route] = []
    page.route("**/api/audit", lambda route: kept.append(route))
    page.get_by_role("button", name="Audit it").click()
    write(page, "causal | band(0, 1)")
    expect(page.locator("#panel .verdict")).to_contain_text("0 (exactly)")
    with page.expect_response("**/api/audit"):
        kept[0].continue_()
    page.unroute("**/api/audit")
    expect(page.get_by_role("button", name="Audit it")).to_be_enabled()
    expect(page.locator("#panel .audit")).to_be_empty()
    page.get_by_role("button", name="Audit it").click()
    expect(page.locator("#panel .audit")).to_contain_text("it keeps the mask")
    expect(page.locator("#panel .audit")).to_contain_text("Judged against band(0, 1) | causal")


def test_the_back_button_writes_over_what_is_being_written(page: Page, faults: list[str]):
    opened(page, panel="compare", other="full")
    write(page, "sinks(2)")
    expect(page.locator("#facts")).to_contain_text("32 of 256")
    page.locator("#length").fill("20")
    page.locator("#length").press("Enter")
    expect(page.locator("#facts")).to_contain_text("40 of 400")
    other = page.get_by_role("textbox", name="The other mask")
    other.fill("causal")
    page.wait_for_url(lambda url: "other=" not in url)  # it is the default
    other.fill("causal & zzz")
    expect(page.locator("#other-problem")).to_contain_text("^")
    page.go_back()
    expect(other).to_have_value("full")
    expect(page.locator("#other-problem")).to_be_hidden()
    page.locator("#length").focus()
    page.go_back()
    expect(page.locator("#length")).to_have_value("16")
    write(page, "sinks(2) & zzz")
    expect(page.locator("#problem")).to_contain_text("^")
    page.go_back()
    expect(page.locator("#expression")).to_have_value("causal")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text("136 of 256")
    assert all("422" in fault for fault in faults)
    faults.clear()


def test_the_last_query_of_a_key_is_not_that_of_the_mask_before(page: Page):
    opened(page, cell="5,2", panel="why")
    last = page.locator("#panel dd").last
    expect(last).to_contain_text("query 15")
    release = held(page, "column")
    write(page, "sliding_window(3)")
    expect(page.locator("#panel .hint").first).to_be_visible()  # another mask lets the cell go
    page.evaluate(GO, "/?" + urlencode({"mask": "sliding_window(3)", "length": 16, "cell": "5,2"}))
    expect(page.locator("#panel h2")).to_have_text("query 5, key 2: blocked")
    expect(last).to_have_text("…")
    release()
    expect(last).to_contain_text("query 4;")


def test_numbers_of_the_state_before_are_dimmed_and_those_of_a_refused_one_gone(page: Page, faults: list[str]):
    opened(page, panel="cost", length=32, mask="document([40, 24]) & causal")
    facts, body = page.locator("#facts"), page.locator("#panel .panel-cost > div").last
    expect(facts).not_to_have_class("facts stale")
    expect(body).not_to_have_class("stale")
    release = held(page, "describe")
    page.locator("#length").fill("64")
    page.locator("#length").press("Enter")
    expect(facts).to_have_class("facts stale")
    expect(body).to_have_class("stale")
    release()
    expect(facts).to_have_class("facts")
    expect(facts).to_contain_text("64 × 64")
    expect(body).to_have_class("")
    page.locator("#length").fill("65")
    page.locator("#length").press("Enter")
    expect(page.locator("#problem")).to_contain_text("65")
    expect(facts).to_be_empty()
    expect(body).to_be_hidden()
    assert all("422" in fault for fault in faults)
    faults.clear()


def test_code_is_not_copied_before_it_is_of_what_is_chosen(page: Page):
    opened(page, panel="take")
    copy = page.get_by_role("button", name="Copy", exact=True)
    expect(copy).to_be_enabled()
    release = held(page, "code")
    page.get_by_role("radio", name="SDPA").click()
    expect(copy).to_be_disabled()
    release()
    expect(copy).to_be_enabled()
    expect(page.locator("#panel pre.code")).to_contain_text("scaled_dot_product_attention")


@pytest.mark.parametrize(("n", "zoom"), [(2001, 0.5), (1_000_003, 2**-7)])
def test_the_last_cells_can_be_seen_and_pointed_at(page: Page, n: int, zoom: float):
    opened(page, mask="full", length=n, view=f"{n},{n},{zoom}")
    cells = page.locator(".cells")
    at = {name: float(cells.get_attribute(f"data-{name}") or 0) for name in ("x", "y", "k", "wide", "high")}
    assert at["k"] + at["wide"] / zoom >= n
    page.locator(".over").click(position={"x": at["x"] + at["wide"] - 0.4, "y": at["y"] + at["high"] - 0.4})
    last = int(at["k"] + (at["wide"] - 1) / zoom)  # the first cell of the last pixel
    assert n - 1 / zoom <= last < n
    expect(page.locator("#panel h2")).to_have_text(f"query {last:,}, key {last:,}: allowed")


def test_a_cursor_outside_a_smaller_grid_is_let_go(page: Page):
    opened(page, length=64)
    page.locator(".over").focus()
    page.keyboard.press("ArrowDown")
    for _ in range(9):
        page.keyboard.press("Shift+ArrowDown")
    expect(page.locator("#panel h2")).to_contain_text("query 63")
    page.locator("#length").fill("8")
    page.locator("#length").press("Enter")
    expect(page.locator("#panel .hint").first).to_be_visible()
    expect(page.locator("#panel .notice")).to_be_hidden()


def test_tokens_stand_at_their_own_positions(page: Page):
    page.add_init_script("""
        window.written = [];
        const write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
            written.push(text);
            return write.call(this, text, ...at);
        };
    """)
    opened(page, length=5, q_len=2, q_start=3, text="The cat ate the fish")
    assert set(page.evaluate("() => written")) == {"The", "cat", "ate", "the", "fish"}
    page.evaluate("() => { written.length = 0; }")
    page.locator("#theme").click()  # all is drawn anew
    page.wait_for_function("() => written.length >= 7")
    assert page.evaluate("() => written.slice(5, 7)") == ["the", "fish"]  # keys, then queries


def test_many_slow_questions_are_given_up_by_the_page(page: Page):
    """Typing on asks anew; what was asked before is aborted and not waited for."""
    aborted: list[str] = []
    seen = threading.Event()
    page.on("requestfailed", lambda asked: (aborted.append(asked.url), seen.set()))
    opened(page, panel="cost")
    release = held(page, "describe")
    for length in (20, 30, 40):
        page.locator("#length").fill(str(length))
        page.locator("#length").press("Enter")
        page.wait_for_timeout(100)  # longer than the page collects changes
    release()
    expect(page.locator("#facts")).to_contain_text("40 × 40")
    assert seen.is_set()
    assert all("describe" in url or "cost" in url or "tile" in url for url in aborted)
