"""The contents of a drawing: exact counts of allowed cells on a grid of tiles, for masks of any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...spans import Spans, count_tiles
from .._arrays import Ints
from .._grid import Grid


@dataclass(frozen=True, eq=False)
class Picture:
    """Tiles of one batch row and head.

    Attributes:
        q_edges: int64 `(rows + 1,)`, absolute query positions where rows of tiles start and end.
        k_edges: int64 `(columns + 1,)`, key positions likewise.
        allowed: int64 `(rows, columns)`, allowed cells of each tile.
        cells: int64 `(rows, columns)`, all cells of each tile.
    """

    q_edges: Ints
    k_edges: Ints
    allowed: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]

    @property
    def exact(self) -> bool:
        """Whether each tile is a single cell."""
        return bool((self.cells == 1).all())

    @property
    def largest(self) -> tuple[int, int]:
        """Numbers of queries and keys of the largest tile."""
        return int(np.diff(self.q_edges).max(initial=0)), int(np.diff(self.k_edges).max(initial=0))

    def levels(self) -> npt.NDArray[np.int64]:
        """Return the shade of each tile: 0 none allowed, 1 up to a third, 2 up to two thirds, 3 more, 4 all cells.

        Rounding never makes a 0 or a 4.
        """
        # In integers: (3 a - 1) // c is 0 up to c / 3 allowed cells, 1 up to 2 c / 3, and 2 beyond.
        thirds = 1 + np.clip((self.allowed * 3 - 1) // np.maximum(self.cells, 1), 0, 2)
        return np.where(self.allowed == 0, 0, np.where(self.allowed == self.cells, 4, thirds))


def picture(plane: Spans, grid: Grid, rows: int, columns: int) -> Picture:
    """Cut one batch row and head into at most `rows` by `columns` tiles of nearly equal size, and count each tile."""
    q_edges = _even_edges(grid.q_first, grid.q_end, rows)
    k_edges = _even_edges(0, grid.kv_len, columns)
    allowed = count_tiles(plane, q_edges - grid.q_first, k_edges)[0, 0]
    return Picture(q_edges, k_edges, allowed, np.outer(np.diff(q_edges), np.diff(k_edges)))


def _even_edges(low: int, high: int, most: int) -> Ints:
    # Edge i is low + i (high - low) / tiles, rounded down: sizes of tiles differ by at most one position.
    tiles = max(1, min(most, high - low))
    return low + np.arange(tiles + 1, dtype=np.int64) * (high - low) // tiles


def cut(text: str, width: int) -> str:
    """Return `text` in at most `width` characters."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def caption(spans: Spans, grid: Grid, b: int, h: int) -> str:
    """Return the exact count of the batch row and head that are drawn, and their numbers where there are several."""
    allowed, cells = spans.plane(b, h).allowed, grid.q_len * grid.kv_len
    text = f"{allowed:,} of {cells:,} pairs allowed ({percent(allowed, cells)})"
    batch, heads, _ = spans.shape
    if batch > 1:
        text += f", batch row b={b} of {batch}"
    if heads > 1:
        text += f", head h={h} of {heads}"
    return text


def percent(count: int, total: int) -> str:
    """Format a share with one decimal. A share is never rounded to 0 or to 100 %: it is `<0.1%` or `>99.9%` then."""
    # Compared as integers: below 0.1 % and above 99.9 % the rounded share would be wrong.
    if 0 < count * 1000 < total:
        return "<0.1%"
    if total * 999 < count * 1000 < total * 1000:
        return ">99.9%"
    return f"{count / max(total, 1):.1%}"
