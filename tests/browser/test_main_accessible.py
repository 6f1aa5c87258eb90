"""axe-core's rules find nothing to complain of, on any panel, in both themes and at both sizes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from .conftest import each_panel

AXE = Path(__file__).parents[2] / ".venv" / "node" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


def violations(page: Page) -> list[str]:
    # The source is evaluated, not loaded: the page lets no other script in.
    assert AXE.exists(), "the rules of accessibility are axe-core's; run: make test-browser"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_panel_keeps_the_rules(page: Page, theme: str, size: str):
    page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
    asked = {"mask": "causal & (sliding_window(6) | sinks(1))", "length": 16, "theme": theme, "cell": "9,2"}
    page.goto("/?" + urlencode(asked | {"layers": 2, "softmax.fill": "-1"}))
    for name in each_panel(page):
        assert not violations(page), name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tour_suggestions_and_mistakes_keep_the_rules(page: Page, faults: list[str], theme: str):
    page.goto(f"/?theme={theme}")
    page.get_by_role("button", name="Tour").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator("#panel table.numbers")).to_be_visible()
    assert not violations(page)
    page.keyboard.press("Escape")
    box = page.locator("#expression")
    box.fill("causal & si")
    box.press("k")
    box.press("Backspace")
    expect(page.get_by_role("listbox")).to_be_visible()
    box.press("ArrowDown")
    assert not violations(page)
    box.press("Space")  # which ends the word, and the list
    expect(page.locator("#problem")).to_be_visible()
    assert not violations(page)
    page.close()  # no complaint comes after this
    assert all("422" in fault for fault in faults)
    faults.clear()
