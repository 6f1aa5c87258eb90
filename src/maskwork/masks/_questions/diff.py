"""`Diff`: how two masks differ on one grid, counted exactly and shown by their first cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ... import spans as sp
from ...spans import Spans
from .._arrays import Ints
from .._bound import BoundMask
from .._drawing.picture import cut, percent

#: A cell in absolute positions: (b, h, q, k).
Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class Diff:
    """Exact counts of cells, over the batch rows and heads in which either mask differs; they sum to all cells.

    It is true when there is a difference, as a non-empty list of differences would be.

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
    #: The first cells, in the order of batch row, head, query, key, that only the left mask allows.
    first_left: tuple[Place, ...]
    #: The first that only the right one allows.
    first_right: tuple[Place, ...]

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
            first = "; ".join(_say(cell, planes) for cell in cells)
            lines.append(
                f"{name:<10} {count:>{width},}  {percent(count, total):>5}" + (f"  first: {first}" if first else "")
            )
        return "\n".join(lines)


def diff(left: BoundMask, right: BoundMask, first: int) -> Diff:
    """The difference of two masks on one grid, with at most `first` cells of each kind."""
    shape = np.broadcast_shapes(left.spans.shape, right.spans.shape)
    here, there = left.spans.expand(shape), right.spans.expand(shape)  # type: ignore[arg-type]
    shared = sp.intersection(here, there).sizes()
    # A row's own cells less the shared ones are those that one side alone allows: no difference is formed.
    only_here, only_there = here.sizes() - shared, there.sizes() - shared
    both, only_left, only_right = (int(sizes.sum()) for sizes in (shared, only_here, only_there))
    return Diff(
        left=repr(left.mask),
        right=repr(right.mask),
        both=both,
        only_left=only_left,
        only_right=only_right,
        neither=math.prod(shape) * left.grid.kv_len - both - only_left - only_right,
        first_left=_first(here, there, only_here, first, left.grid.q_start),
        first_right=_first(there, here, only_there, first, left.grid.q_start),
    )


def _first(here: Spans, there: Spans, only_here: Ints, most: int, q_start: int) -> tuple[Place, ...]:
    """The first `most` cells of `here` that `there` lacks, read from no more rows than hold them."""
    cells: list[Place] = []
    rows = np.flatnonzero(only_here)[:most]
    for b, h, q in zip(*(axis.tolist() for axis in np.unravel_index(rows, here.shape)), strict=True):
        row = sp.difference(_row(here, b, h, q), _row(there, b, h, q)).row(0)
        for start, end in row:
            end = min(end, start + most - len(cells))
            cells += [(b, h, q + q_start, key) for key in range(start, end)]
    return tuple(cells)


def _row(spans: Spans, b: int, h: int, q: int) -> Spans:
    at = np.s_[:, b : b + 1, h : h + 1, q : q + 1]
    return Spans(spans.planes_starts[at], spans.planes_ends[at], spans.kv_len).trim()


def _say(cell: Place, planes: bool) -> str:
    b, h, q, k = cell
    return (f"batch {b}, head {h}, " if planes else "") + f"query {q}, key {k}"
