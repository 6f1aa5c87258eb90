"""The first cell where two geometries disagree: proofs that compare runs and build as little as possible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._algebra import difference, intersection, xor
from ._spans import Spans

#: (b, h, row, key), or None where there is no such cell.
FirstCell = tuple[int, int, int, int] | None


def first_outside(a: Spans, b: Spans) -> FirstCell:
    """Return the first cell, in the order (b, h, row, key), that `a` allows and `b` does not."""
    a, b = _collapsed(a, b)
    if b.runs > 1:
        # A run of `a` may lie in any run of `b`: form the difference, unless the two are equal.
        return None if _rows_that_differ(a, b) is None else first_cell(difference(a, b))
    # One interval contains all keys of a row exactly when it contains the first and the last of them.
    first, last = a.planes_starts[0], a.planes_ends[0].copy()
    if _few_rows(a):
        last = np.where(a.planes_starts < a.kv_len, a.planes_ends, 0).max(axis=0)
    else:
        for start, end in zip(a.planes_starts[1:], a.planes_ends[1:], strict=True):
            np.copyto(last, end, where=start < a.kv_len)
    outside: npt.NDArray[np.bool_] = (first < b.planes_starts[0]) | (last > b.planes_ends[0])
    outside = outside & (first < a.kv_len)
    row = _first_true(outside)
    return None if row is None else _in_row(row, difference(_row(a, row), _row(b, row)))


def first_difference(a: Spans, b: Spans) -> FirstCell:
    """Return the first cell that exactly one of the two allows: canonical forms are compared, nothing is built."""
    a, b = _collapsed(a, b)
    row = _rows_that_differ(a, b)
    return None if row is None else _in_row(row, xor(_row(a, row), _row(b, row)))


def first_common(a: Spans, b: Spans) -> FirstCell:
    """Return the first cell that both allow."""
    a, b = _collapsed(a, b)
    return first_cell(intersection(a, b))


def _collapsed(a: Spans, b: Spans) -> tuple[Spans, Spans]:
    """Return both with one row where that stands for all: what holds there holds everywhere, and row 0 is the first."""
    return a.one_row(), b.one_row()


def first_cell(cells: Spans) -> FirstCell:
    """Return the first allowed cell."""
    row = _first_true(cells.planes_starts[0] < cells.kv_len)
    return None if row is None else (*row, int(cells.planes_starts[(0, *row)]))


def _rows_that_differ(a: Spans, b: Spans) -> tuple[int, int, int] | None:
    differ: npt.NDArray[np.bool_] = np.zeros((1, 1, 1), dtype=np.bool_)
    # The geometry with fewer runs has unused slots where the other has runs.
    unused = np.full((1, 1, 1), a.kv_len, dtype=np.int32)
    if a.runs == b.runs and _few_rows(a) and _few_rows(b):
        sides = (a.planes_starts, b.planes_starts), (a.planes_ends, b.planes_ends)
        return _first_true(np.logical_or(*((left != right).any(axis=0) for left, right in sides)))
    for i in range(max(a.runs, b.runs)):
        start_a, end_a = (a.planes_starts[i], a.planes_ends[i]) if i < a.runs else (unused, unused)
        start_b, end_b = (b.planes_starts[i], b.planes_ends[i]) if i < b.runs else (unused, unused)
        differ = differ | (start_a != start_b) | (end_a != end_b)
    return _first_true(differ)


def _few_rows(spans: Spans) -> bool:
    """Return whether rows are fewer than their runs, so that a step for each run would be slow."""
    return int(np.prod(spans.shape)) < spans.runs


def _first_true(rows: npt.NDArray[np.bool_]) -> tuple[int, int, int] | None:
    if not rows.any():
        return None
    b, h, row = (int(i) for i in np.unravel_index(int(rows.argmax()), rows.shape))
    return b, h, row


def _row(spans: Spans, index: tuple[int, int, int]) -> Spans:
    """Return row `(b, h, row)` as spans of shape (1, 1, 1); an axis of size 1 is broadcast."""
    b, h, row = (slice(min(i, n - 1), min(i, n - 1) + 1) for i, n in zip(index, spans.shape, strict=True))
    return Spans(spans.planes_starts[:, b, h, row], spans.planes_ends[:, b, h, row], spans.kv_len)


def _in_row(row: tuple[int, int, int], cells: Spans) -> FirstCell:
    return (*row, int(cells.planes_starts[0, 0, 0, 0]))
