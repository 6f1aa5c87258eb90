"""Drawings tell the truth: exact at any length, inside the width, readable without colour."""

import re
from xml.etree import ElementTree

import pytest

import maskwork as mw
from maskwork.masks._draw import draw_text


def cells(drawing: str) -> list[str]:
    return [re.sub(r"^ *\d+ ", "", line) for line in drawing.splitlines()[3:-2] if re.match(r"^ *\d+ [█·░▒▓ ]", line)]


def test_small_masks_are_drawn_cell_by_cell():
    bound = (mw.causal() & (mw.sliding_window(3) | mw.sinks(1))).bind(9)
    rows = cells(draw_text(bound, 80))
    drawn = [[glyph == "█" for glyph in row.ljust(18, "·")[::2]] for row in rows]
    assert drawn == bound.dense()[0, 0].tolist()


@pytest.mark.parametrize("width", [24, 40, 80, 200])
@pytest.mark.parametrize("length", [1, 7, 12, 40, 500, 100_000])
def test_drawings_fit_their_width(width: int, length: int):
    bound = (mw.causal() & (mw.sliding_window(8) | mw.sinks(2))).bind(length)
    lines = draw_text(bound, width).splitlines()
    axis_and_cells = lines[2:-2]
    assert max(map(len, axis_and_cells)) <= width
    assert max(map(len, lines)) <= max(width, 60)


def test_rounding_never_makes_a_tile_full_or_empty():
    n = 10_000
    drawing = "".join(cells(draw_text((mw.full() - mw.sinks(1)).bind(n), 40)))
    assert "▓" in drawing, "the first column of tiles lacks one key of many"
    one = "".join(cells(draw_text((mw.sinks(1) & mw.full()).bind(n), 40)))
    assert set(one) == {"░"}


def test_svg_is_well_formed_and_has_a_title():
    for mask in (mw.within(mw.causal(), [300, 700]), mw.empty(), mw.full(), mw.padding([3, 1000])):
        root = ElementTree.fromstring(mask.bind(1000).svg())
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert repr(mask) in str(title.text)
    assert "url(#part)" in mw.causal().bind(1000).svg(), "tiles allowed in part are dotted, not only coloured"


def test_empty_grids_are_drawn_as_a_title():
    assert "0 of 0 pairs" in draw_text(mw.full().bind(0), 80)
    ElementTree.fromstring(mw.full().bind(0).svg())
