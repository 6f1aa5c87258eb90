"""What a drawing shows: exact counts of allowed cells, on tiles small enough to draw at any length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._arrays import Ints
from ._bound import BoundMask


@dataclass(frozen=True, eq=False)
class Picture:
    """Tiles of one (batch, head) plane. `allowed` and `cells` are int64 `(rows, columns)`."""

    q_edges: Ints
    k_edges: Ints
    allowed: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]

    @property
    def exact(self) -> bool:
        """Whether each tile is a single cell."""
        return bool((self.cells == 1).all())


def picture(bound: BoundMask, rows: int, columns: int, b: int = 0, h: int = 0) -> Picture:
    """At most `rows` by `columns` tiles over the whole grid, cut as evenly as whole positions allow."""
    grid = bound.grid
    q_edges = _even_edges(grid.q_start, grid.q_end, rows)
    k_edges = _even_edges(0, grid.kv_len, columns)
    allowed = bound.tiles(q_edges, k_edges)[b, h]
    return Picture(q_edges, k_edges, allowed, np.outer(np.diff(q_edges), np.diff(k_edges)))


def _even_edges(low: int, high: int, most: int) -> Ints:
    tiles = max(1, min(most, high - low))
    return low + np.arange(tiles + 1, dtype=np.int64) * (high - low) // tiles


def title(bound: BoundMask, width: int) -> list[str]:
    """The mask, cut to `width` characters, and its exact counts."""
    text = repr(bound.mask)
    text = text if len(text) <= width else text[: width - 1] + "…"
    return [text, f"{bound.allowed:,} of {math.prod(bound.shape):,} pairs allowed ({bound.density:.1%})"]
