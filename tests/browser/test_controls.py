"""The fields of the grid keep their numbers within bounds."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from .conftest import open_page


def test_numbers_of_the_grid_stay_within_bounds(page: Page):
    open_page(page)
    page.get_by_text("Grid and tokens").click()
    queries = page.get_by_role("spinbutton", name="queries")
    for written, kept in (("1", "1"), ("-5", "1"), ("99999999", str(1 << 20))):
        queries.fill(written)
        queries.press("Enter")
        expect(queries).to_have_value(kept)
