"""What a drawing shows: exact counts of allowed cells, on tiles small enough to draw at any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...spans import Spans, count_tiles
from .._arrays import Ints
from .._bound import BoundMask


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

    @property
    def largest(self) -> tuple[int, int]:
        """Queries and keys of the largest tile."""
        return int(np.diff(self.q_edges).max(initial=0)), int(np.diff(self.k_edges).max(initial=0))

    def levels(self) -> npt.NDArray[np.int64]:
        """0 nothing allowed, 1 up to a third, 2 up to two thirds, 3 more, 4 all; rounding never makes a 0 or a 4."""
        thirds = 1 + np.clip((self.allowed * 3 - 1) // np.maximum(self.cells, 1), 0, 2)
        return np.where(self.allowed == 0, 0, np.where(self.allowed == self.cells, 4, thirds))


def picture(bound: BoundMask, rows: int, columns: int, b: int = 0, h: int = 0) -> Picture:
    """At most `rows` by `columns` tiles over the whole of one plane, cut as evenly as whole positions allow."""
    grid = bound.grid
    q_edges = _even_edges(grid.q_start, grid.q_end, rows)
    k_edges = _even_edges(0, grid.kv_len, columns)
    allowed = count_tiles(plane(bound, b, h), q_edges - grid.q_start, k_edges)[0, 0]
    return Picture(q_edges, k_edges, allowed, np.outer(np.diff(q_edges), np.diff(k_edges)))


def plane(bound: BoundMask, b: int, h: int) -> Spans:
    """The geometry of one batch row and head alone."""
    b, h = bound.plane(b, h)
    spans = bound.spans
    batch, heads, _ = spans.shape
    b, h = b if batch > 1 else 0, h if heads > 1 else 0
    at = np.s_[:, b : b + 1, h : h + 1]
    return Spans(spans.planes_starts[at], spans.planes_ends[at], spans.kv_len)


def _even_edges(low: int, high: int, most: int) -> Ints:
    tiles = max(1, min(most, high - low))
    return low + np.arange(tiles + 1, dtype=np.int64) * (high - low) // tiles


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def counted(bound: BoundMask, b: int, h: int) -> str:
    """The exact count of the plane that is drawn, and which plane it is where they differ."""
    allowed, cells = int(plane(bound, b, h).sizes().sum()), bound.grid.q_len * bound.grid.kv_len
    text = f"{allowed:,} of {cells:,} pairs allowed ({percent(allowed, cells)})"
    batch, heads, _ = bound.spans.shape
    if batch > 1:
        text += f", batch row b={b} of {batch}"
    if heads > 1:
        text += f", head h={h} of {heads}"
    return text


def percent(count: int, total: int) -> str:
    """One decimal, never rounded to nothing or to everything: `<0.1%` and `>99.9%` say that there is more to it."""
    if 0 < count * 1000 < total:
        return "<0.1%"
    if total * 999 < count * 1000 < total * 1000:
        return ">99.9%"
    return f"{count / max(total, 1):.1%}"
