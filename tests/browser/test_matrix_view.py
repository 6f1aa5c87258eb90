"""What part of the matrix is shown: the whole fills its room, the small map is dragged, the pointer names a cell."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .conftest import open_page


def test_the_small_map_is_dragged(page: Page):
    open_page(page, length=5000, view="0,0,4")
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


@pytest.mark.parametrize("n", [577, 600, 700, 1500, 5000, 100_000])
def test_the_whole_fills_its_room(page: Page, n: int):
    open_page(page, length=n)
    wide, room = page.evaluate("() => [Number(document.querySelector('.cells').dataset.wide), "
                               "document.querySelector('#matrix').clientWidth]")  # fmt: skip
    high = page.evaluate("() => document.querySelector('#matrix').clientHeight")
    assert wide >= 0.85 * (min(room, high) - 80)  # what is left by the axes


def test_the_pointer_names_the_first_cell_of_a_pixel_whose_edge_is_between_cells(page: Page):
    open_page(page, length=600)
    cells = page.locator(".cells")
    x, y, zoom = (float(cells.get_attribute(f"data-{name}") or 0) for name in ("x", "y", "zoom"))
    step = 1 / zoom
    assert 1 < step < 1.5
    for pixel in (0, 7, 8, 9, 400):
        page.locator(".over").hover(position={"x": x + pixel + 0.4, "y": y + pixel + 0.4})
        at = int(pixel * round(step * 8) / 8)
        expect(page.locator("#panel h2")).to_have_text(f"query {at}, key {at}: allowed")
