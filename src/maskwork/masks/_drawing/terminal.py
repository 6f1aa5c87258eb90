"""A mask in the terminal: two tiles per character, shaded by exact counts, readable without colour."""

from __future__ import annotations

import shutil
import textwrap

from ...spans import Spans
from .._grid import Grid
from .picture import Picture, caption, cut, picture

_SHADES = " ░▒▓█"  # by `Picture.levels`
_HALVES = {(0, 0): " ", (4, 0): "▀", (0, 4): "▄", (4, 4): "█"}
_SMALL = 32  # up to this number of queries, each has a line, and each key two columns

#: Blocks to ASCII, for a terminal that cannot print blocks.
ASCII = str.maketrans("█▓▒░▀▄·↓→…", '#*+:"_.v>~')


def draw_text(text: str, spans: Spans, grid: Grid, width: int | None = None, *, b: int = 0, h: int = 0) -> str:
    """Draw one batch row and head in at most `width` columns (the terminal's when left out).

    A small mask has two columns and a line for each cell. A wider mask has a column for each key and a line for two
    queries: `▀` is the upper query, `▄` the lower query, `█` both. Where even that is too wide, a character is a tile:
    `█`, `▀` and `▄` where all pairs of the tile, or of one half, are allowed and no others; `░▒▓` mean up to a third,
    up to two thirds, and more. Rounding never makes a tile full or empty.

    Args:
        text: the mask, for the first line.
        spans: the mask's geometry.
        grid: the mask's grid.
        width: columns.
        b: batch row.
        h: head.
    """
    width = max(1, shutil.get_terminal_size((80, 24)).columns if width is None else width)
    lines = [cut(text, width), *_wrapped(caption(spans, grid, b, h), width)]
    if grid.q_len == 0 or grid.kv_len == 0:
        return "\n".join(lines)
    gutter = max(len(str(position)) for position in (grid.q_first, grid.q_end - 1)) + 1
    gutter = gutter if width >= gutter + 8 else 0  # too narrow for query positions: the drawing has priority
    room = width - gutter
    small = grid.kv_len * 2 <= room and grid.q_len <= _SMALL
    # A character is about twice as high as wide, so that two tiles on top of each other are nearly square.
    rows = room if grid.q_len <= room else room - room % 2  # two rows per line, unless a row is one query
    tiles = picture(spans.plane(b, h), grid, rows, room)
    lines.append(" " * gutter + _key_axis(tiles, 2 if small else 1))
    drawn = _cells(tiles) if small else _half_blocks(tiles)
    for first, row in zip(tiles.q_edges[:-1].tolist()[:: 1 if small else 2], drawn, strict=True):
        lines.append((f"{first:>{gutter - 1}} " if gutter else "") + row.rstrip())
    lines += _wrapped("rows: queries ↓   columns: keys →", width)
    return "\n".join([*lines, *_wrapped(_legend(tiles, small), width)])


def _cells(tiles: Picture) -> list[str]:
    return ["".join("██" if allowed else "··" for allowed in row) for row in tiles.allowed.tolist()]


def _half_blocks(tiles: Picture) -> list[str]:
    """Draw one line for two rows of tiles; where a tile is partly allowed, the shade of both tiles together."""
    blank = "·" if tiles.exact else " "
    levels = tiles.levels()
    lines: list[str] = []
    for i in range(0, len(levels), 2):
        pair = slice(i, i + 2)
        allowed, cells = tiles.allowed[pair].sum(axis=0), tiles.cells[pair].sum(axis=0)
        both = Picture(tiles.q_edges[pair], tiles.k_edges, allowed, cells).levels().tolist()
        top = levels[i].tolist()
        # Below the last of an odd number of rows the line is blank.
        bottom = levels[i + 1].tolist() if i + 1 < len(levels) else [0] * len(top)
        line = ""
        for above, below, level in zip(top, bottom, both, strict=True):
            line += _HALVES.get((above, below), _SHADES[level]) if above or below else blank
        lines.append(line)
    return lines


def _key_axis(tiles: Picture, wide: int) -> str:
    """Return the line of key positions above their columns, as many as fit without touching."""
    axis = ""
    room = tiles.allowed.shape[1] * wide
    every = 4 if wide == 2 else 10  # columns from one label to the next
    for column, key in enumerate(tiles.k_edges[:-1].tolist()):
        offset, label = column * wide, str(key)
        if column % every == 0 and offset + len(label) <= room and (not axis or offset >= len(axis) + 2):
            axis = axis.ljust(offset) + label
    return axis


def _legend(tiles: Picture, small: bool) -> str:
    if small:
        return "█ may attend   · may not"
    if tiles.exact:
        return "█ both queries may attend   ▀ the upper one   ▄ the lower one   · neither"
    q, k = tiles.largest
    size = f"(a half: up to {q:,} x {k:,} pairs)"
    return f"█ all   ▓▒░ some   ▀ ▄ all of one half, none of the other   blank none   {size}"


def _wrapped(text: str, width: int) -> list[str]:
    """Wrap text into lines of at most `width`; three spaces separate legend entries, which stay intact if possible."""
    lines: list[str] = []
    for entry in text.split("   "):
        if lines and len(lines[-1]) + 3 + len(entry) <= width:
            lines[-1] += "   " + entry
        else:
            lines += textwrap.wrap(entry, width)
    return lines


def printable(drawing: str, encoding: str | None) -> str:
    """Return the drawing, in ASCII where the terminal's encoding has no blocks."""
    try:
        drawing.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return drawing.translate(ASCII).encode("ascii", "replace").decode()
    return drawing
