"""Drawings in the terminal tell the truth: exact at any length, inside the width, readable without colour."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import Case, cases, grids
from maskwork.masks._drawing.terminal import draw_text, printable


def draw(bound: mw.BoundMask, width: int, *, b: int = 0, h: int = 0) -> str:
    """Return the terminal's drawing of a bound mask."""
    return draw_text(repr(bound.mask), bound.spans, bound.grid, width, b=b, h=h)


def cells(drawing: str) -> list[str]:
    """The drawn lines without their positions: those between the key axis and the legend."""
    lines = drawing.splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("rows: queries"))
    numbered = [line for line in lines[:end] if re.match(r"^ *\d+ [█▀▄·░▒▓ ]", line)]
    return [re.sub(r"^ *\d+ ", "", line) for line in numbered if not re.search(r"\d", re.sub(r"^ *\d+ ", "", line))]


@settings(max_examples=200)
@given(cases, grids(), st.integers(0, 2), st.integers(0, 3))
def test_a_small_mask_is_drawn_cell_by_cell(case: Case, grid: tuple[int, int, int], b: int, h: int):
    q_start, q_len, kv_len = grid
    if not (q_len and kv_len):
        return
    b, h = b % case.mask.batch, h % case.mask.heads
    dense = case.dense(q_start, q_len, kv_len)[b, h]
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    rows = cells(draw(bound, 80, b=b, h=h))
    assert [[glyph == "█" for glyph in row[::2]] for row in rows] == dense.tolist()
    assert all(row[::2] == row[1::2] for row in rows)


@given(st.integers(40, 77), st.integers(1, 77), st.integers(0, 40), st.integers(1, 30), st.integers(0, 9))
def test_a_wider_mask_is_drawn_two_queries_a_line(kv_len: int, q_len: int, q_start: int, window: int, first: int):
    bound = (mw.causal() & (mw.sliding_window(window) | mw.sinks(first))).bind(q_len, kv_len, q_start=q_start)
    rows = cells(draw(bound, 81))
    upper = [[glyph in "█▀" for glyph in row] for row in rows]
    lower = [[glyph in "█▄" for glyph in row] for row in rows]
    drawn = np.array([row for pair in zip(upper, lower, strict=True) for row in pair])
    assert (drawn[:q_len] == bound.dense()[0, 0]).all()
    assert not drawn[q_len:].any()


WIDTHS = [9, 24, 40, 80, 200]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", [1, 7, 12, 40, 77, 500, 1_000_000])
def test_drawings_fit_their_width(width: int, length: int):
    mask = mw.causal() & (mw.sliding_window(8) | mw.sinks(2)) & mw.padding([length, length // 2])
    for bound in (mask.bind(length), mask.bind(3, length + 3, q_start=length)):
        lines = draw(bound, width, b=1).splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) < 60 + width


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_tiles_are_counted_exactly(width: int):
    """Every character of a drawing of tiles, against the counts of the cells below it."""
    bound = (mw.causal() & (mw.sliding_window(80) | mw.sinks(30))).bind(600)
    rows = cells(draw(bound, width))
    room = width - 4
    edges = 600 * np.arange(room + 1) // room
    tall = 600 * np.arange(room - room % 2 + 1) // (room - room % 2)
    counts, sizes = bound.tiles(tall, edges)[0, 0], np.outer(np.diff(tall), np.diff(edges))
    for i, row in enumerate(rows):
        for j, glyph in enumerate(row.ljust(room)):
            allowed, size = counts[2 * i : 2 * i + 2, j], sizes[2 * i : 2 * i + 2, j]
            part = allowed.sum() / size.sum()
            if glyph in " █▀▄":
                assert (allowed == size * {" ": (0, 0), "█": (1, 1), "▀": (1, 0), "▄": (0, 1)}[glyph]).all()
            else:
                assert "░▒▓".index(glyph) / 3 < part <= ("░▒▓".index(glyph) + 1) / 3


def test_rounding_never_makes_a_tile_full_or_empty():
    n = 10_000
    drawing = "".join(cells(draw((mw.full() - mw.sinks(1)).bind(n), 40)))
    assert "▓" in drawing, "the first column of tiles lacks one key of many"
    one = "".join(cells(draw((mw.sinks(1) & mw.full()).bind(n), 40)))
    assert set(one) == {"░"}
    assert "<0.1%" in draw(mw.sinks(1).bind(n), 80)
    assert ">99.9%" in draw((~mw.sinks(1)).bind(n), 80)


def test_b_and_h_choose_the_plane():
    bound = mw.padding([3, 1000]).bind(1000)
    assert "3,000 of 1,000,000 pairs allowed (0.3%), batch row b=0 of 2" in draw(bound, 80)
    assert "1,000,000 of 1,000,000" in draw(bound, 80, b=1)
    assert bound.svg(b=0) != bound.svg(b=1)
    assert mw.full().bind(4, batch=2, heads=3).svg(b=1, h=2) == mw.full().bind(4).svg(), "the same in every plane"
    for plane in ({"b": 2}, {"h": 1}, {"b": -1}):
        with pytest.raises(mw.errors.MaskError):
            bound.svg(**plane)
        with pytest.raises(mw.errors.MaskError):
            bound.show(**plane)


def test_a_terminal_without_blocks_gets_ascii(capsys: pytest.CaptureFixture[str]):
    drawing = draw(mw.causal().bind(3000), 40)
    assert printable(drawing, "utf-8") == drawing
    plain = printable(drawing, "ascii")
    assert plain.isascii()
    assert "?" not in plain
    assert [len(line) for line in plain.splitlines()] == [len(line) for line in drawing.splitlines()]
    mw.causal().bind(3000).show(40)
    assert capsys.readouterr().out == drawing + "\n"


def test_empty_grids_are_drawn_as_a_title():
    assert "0 of 0 pairs" in draw(mw.full().bind(0), 80)
    ElementTree.fromstring(mw.full().bind(0).svg())
