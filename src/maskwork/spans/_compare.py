"""The first cell where two geometries disagree: proofs that look at the ends of runs before they build anything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._algebra import difference, intersection, xor
from ._spans import Spans

#: (b, h, row, key), or None where there is no such cell.
Cell = tuple[int, int, int, int] | None


def first_outside(a: Spans, b: Spans) -> Cell:
    """The first cell, in the order (b, h, row, key), that `a` allows and `b` does not."""
    if b.runs > 1:
        return None if _rows_that_differ(a, b) is None else first_cell(difference(a, b))
    # An interval holds a row of keys exactly when it holds the first of them and the last.
    first, last = a.planes_starts[0], a.planes_ends[0].copy()
    for start, end in zip(a.planes_starts[1:], a.planes_ends[1:], strict=True):
        np.copyto(last, end, where=start < a.kv_len)
    out: npt.NDArray[np.bool_] = (first < b.planes_starts[0]) | (last > b.planes_ends[0])
    out = out & (first < a.kv_len)
    rows = _first_true(out)
    return None if rows is None else _in_row(rows, difference(_row(a, rows), _row(b, rows)))


def first_difference(a: Spans, b: Spans) -> Cell:
    """The first cell that exactly one of the two allows; canonical forms are compared, nothing is built."""
    row = _rows_that_differ(a, b)
    return None if row is None else _in_row(row, xor(_row(a, row), _row(b, row)))


def first_common(a: Spans, b: Spans) -> Cell:
    """The first cell that both allow."""
    return first_cell(intersection(a, b))


def first_cell(cells: Spans) -> Cell:
    """The first allowed cell."""
    row = _first_true(cells.planes_starts[0] < cells.kv_len)
    return None if row is None else (*row, int(cells.planes_starts[(0, *row)]))


def _rows_that_differ(a: Spans, b: Spans) -> tuple[int, int, int] | None:
    out: npt.NDArray[np.bool_] = np.zeros((1, 1, 1), dtype=np.bool_)
    unused = np.full((1, 1, 1), a.kv_len, dtype=np.int32)
    for i in range(max(a.runs, b.runs)):
        start_a, end_a = (a.planes_starts[i], a.planes_ends[i]) if i < a.runs else (unused, unused)
        start_b, end_b = (b.planes_starts[i], b.planes_ends[i]) if i < b.runs else (unused, unused)
        out = out | (start_a != start_b) | (end_a != end_b)
    return _first_true(out)


def _first_true(rows: npt.NDArray[np.bool_]) -> tuple[int, int, int] | None:
    if not rows.any():
        return None
    b, h, row = (int(i) for i in np.unravel_index(int(rows.argmax()), rows.shape))
    return b, h, row


def _row(spans: Spans, at: tuple[int, int, int]) -> Spans:
    """One row as a geometry of its own, broadcast where the planes are."""
    b, h, row = (slice(min(i, n - 1), min(i, n - 1) + 1) for i, n in zip(at, spans.shape, strict=True))
    return Spans(spans.planes_starts[:, b, h, row], spans.planes_ends[:, b, h, row], spans.kv_len)


def _in_row(row: tuple[int, int, int], cells: Spans) -> Cell:
    return (*row, int(cells.planes_starts[0, 0, 0, 0]))
