"""`Diff`: how two masks differ on one grid, counted exactly and shown by their first cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ... import spans as sp
from ...spans import Spans
from .._arrays import Ints
from .._drawing.picture import cut, percent

#: A cell in absolute positions: (b, h, q, k).
CellIndex = tuple[int, int, int, int]


@dataclass(frozen=True)
class Diff:
    """The difference of two masks: exact counts of cells, which sum to all cells of the grid.

    The counts are over the batch rows and heads in which either mask differs. A `Diff` is true when the masks differ,
    as a non-empty list of differences would be.

    Attributes:
        left: text of the left mask.
        right: text of the right mask.
        both: cells that both masks allow.
        only_left: cells that only the left mask allows.
        only_right: cells that only the right mask allows.
        neither: cells that no mask allows.
        first_left: the first cells `(b, h, q, k)` of `only_left`, in the order of batch row, head, query, key.
        first_right: the first cells of `only_right`.

    >>> import maskwork as mw
    >>> diff = mw.causal().bind(100).diff(mw.sliding_window(8))
    >>> diff.both, diff.only_left, diff.only_right, diff.neither
    (772, 4278, 0, 4950)
    >>> diff.first_left[0]
    (0, 0, 8, 0)
    >>> print(diff)
    left:  causal
    right: sliding_window(8)
    both         772   7.7%
    only left  4,278  42.8%  first: query 8, key 0; query 9, key 0; query 9, key 1
    only right     0   0.0%
    neither    4,950  49.5%
    """

    left: str
    right: str
    both: int
    only_left: int
    only_right: int
    neither: int
    first_left: tuple[CellIndex, ...]
    first_right: tuple[CellIndex, ...]

    def __bool__(self) -> bool:
        return self.only_left + self.only_right > 0

    def __str__(self) -> str:
        counts = {
            "both": (self.both, ()),
            "only left": (self.only_left, self.first_left),
            "only right": (self.only_right, self.first_right),
            "neither": (self.neither, ()),
        }
        total = max(sum(count for count, _ in counts.values()), 1)
        width = max(len(f"{count:,}") for count, _ in counts.values())
        planes = any(b or h for b, h, _, _ in (*self.first_left, *self.first_right))
        lines = [f"left:  {cut(self.left, 100)}", f"right: {cut(self.right, 100)}"]
        for name, (count, cells) in counts.items():
            first = "; ".join(_cell_text(cell, planes) for cell in cells)
            lines.append(
                f"{name:<10} {count:>{width},}  {percent(count, total):>5}" + (f"  first: {first}" if first else "")
            )
        return "\n".join(lines)


def diff(texts: tuple[str, str], left: Spans, right: Spans, start_of: Callable[[int], int], first: int) -> Diff:
    """Compare two masks on one grid.

    Args:
        texts: both masks as text.
        left: spans of the first mask.
        right: spans of the second mask, on the same grid.
        start_of: returns the absolute position of the first query of a batch row.
        first: most cells of each difference that are listed.
    """
    shape = np.broadcast_shapes(left.shape, right.shape)
    left, right = left.expand(shape), right.expand(shape)  # type: ignore[arg-type]  # NumPy types any shape
    shared = sp.intersection(left, right).sizes()
    # All cells of a row minus the shared ones are those that one side alone allows: no difference is formed.
    rest_left, rest_right = left.sizes() - shared, right.sizes() - shared
    both, only_left, only_right = (int(sizes.sum()) for sizes in (shared, rest_left, rest_right))
    return Diff(
        left=texts[0],
        right=texts[1],
        both=both,
        only_left=only_left,
        only_right=only_right,
        neither=math.prod(shape) * left.kv_len - both - only_left - only_right,
        first_left=_first(left, right, rest_left, first, start_of),
        first_right=_first(right, left, rest_right, first, start_of),
    )


def _first(a: Spans, b: Spans, sizes: Ints, most: int, start_of: Callable[[int], int]) -> tuple[CellIndex, ...]:
    """Return the first `most` cells that `a` allows and `b` does not; `sizes` counts them per row, `(B, H, Q)`."""
    cells: list[CellIndex] = []
    # Each of these rows has such a cell, so that no more than `most` rows are needed.
    rows = np.flatnonzero(sizes)[:most]
    for batch, h, q in zip(*(axis.tolist() for axis in np.unravel_index(rows, a.shape)), strict=True):
        row = sp.difference(_row(a, batch, h, q), _row(b, batch, h, q)).row(0)
        for start, end in row[: most - len(cells)]:  # each run has a cell
            end = min(end, start + most - len(cells))
            cells += [(batch, h, q + start_of(batch), key) for key in range(start, end)]
    return tuple(cells)


def _row(spans: Spans, b: int, h: int, q: int) -> Spans:
    index = np.s_[:, b : b + 1, h : h + 1, q : q + 1]
    return Spans(spans.planes_starts[index], spans.planes_ends[index], spans.kv_len).trim()


def _cell_text(cell: CellIndex, planes: bool) -> str:
    b, h, q, k = cell
    return (f"batch {b}, head {h}, " if planes else "") + f"query {q}, key {k}"
