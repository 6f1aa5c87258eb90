"""A mask in the terminal: one character a tile, shaded by exact counts, readable without colour."""

from __future__ import annotations

import shutil

import numpy as np

from ._bound import BoundMask
from ._picture import Picture, picture, title

_SHADES = "░▒▓"


def draw_text(bound: BoundMask, width: int | None = None) -> str:
    """The drawing of batch row 0, head 0, in at most `width` columns (the terminal's when left out).

    A cell or tile is `█` when all of it is allowed and blank or `·` when none of it is; in between, `░▒▓` say up to a
    third, up to two thirds, and more. Rounding never makes a tile full or empty.
    """
    width = max(24, shutil.get_terminal_size((80, 24)).columns if width is None else width)
    grid = bound.grid
    gutter = max(len(str(max(grid.q_end - 1, 0))), 1) + 1
    room = width - gutter
    # A character is about twice as high as wide: single cells get two columns each, tiles half as many rows.
    if grid.kv_len * 2 <= room and grid.q_len <= room:
        tiles, wide = picture(bound, grid.q_len, grid.kv_len), 2
    else:
        tiles, wide = picture(bound, max(room // 2, 1), room), 1
    lines = title(bound, width)
    if grid.q_len == 0 or grid.kv_len == 0:
        return "\n".join(lines)
    lines.append(" " * gutter + _key_axis(tiles, wide))
    for i, row in enumerate(_glyphs(tiles)):
        lines.append(f"{int(tiles.q_edges[i]):>{gutter - 1}} " + "".join(glyph * wide for glyph in row).rstrip())
    lines += ["rows: queries ↓   columns: keys →", _legend(tiles)]
    if bound.shape[:2] != (1, 1):
        lines.append(f"batch row 0 of {bound.shape[0]}, head 0 of {bound.shape[1]}")
    return "\n".join(lines)


def _glyphs(tiles: Picture) -> list[list[str]]:
    blank = "·" if tiles.exact else " "
    thirds = np.clip(tiles.allowed * 3 // np.maximum(tiles.cells, 1), 0, 2)
    return [
        [
            blank if allowed == 0 else "█" if allowed == cells else _SHADES[third]
            for allowed, cells, third in zip(*rows, strict=True)
        ]
        for rows in zip(tiles.allowed.tolist(), tiles.cells.tolist(), thirds.tolist(), strict=True)
    ]


def _key_axis(tiles: Picture, wide: int) -> str:
    """Key positions over their columns, as many as fit without touching."""
    axis = ""
    room = tiles.allowed.shape[1] * wide
    every = 4 if wide == 2 else 10  # columns from one label to the next
    for column, key in enumerate(tiles.k_edges[:-1].tolist()):
        at, label = column * wide, str(key)
        if column % every == 0 and at + len(label) <= room and (not axis or at >= len(axis) + 2):
            axis = axis.ljust(at) + label
    return axis


def _legend(tiles: Picture) -> str:
    if tiles.exact:
        return "█ may attend   · may not"
    q, k = int(np.diff(tiles.q_edges).max()), int(np.diff(tiles.k_edges).max())
    return f"█ all  ▓▒░ some  blank none, of up to {q} x {k} pairs"
