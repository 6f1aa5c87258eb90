"""Spans from a list of runs in any order: `(row, start, end)` triples, as rectangles and pages give them."""

from __future__ import annotations

import numpy as np

from ._build import list_runs
from ._runs import Ints
from ._spans import Spans, check_budget


def merge_runs(row: Ints, start: Ints, end: Ints, shape: tuple[int, int, int], kv_len: int) -> Spans:
    """Return the union of the runs of each row, which may overlap; `row` is a flat index of `shape`.

    >>> merge_runs(np.array([0, 0, 0]), np.array([4, 0, 2]), np.array([6, 2, 3]), (1, 1, 1), 9).row(0)
    [(0, 3), (4, 6)]
    """
    first, last = np.clip(start, 0, kv_len), np.clip(end, 0, kv_len)
    used = first < last
    # One number for row and key: two sorts of plain numbers are faster than one of pairs. Starts and ends are sorted
    # apart, as in `_algebra`; the keys of the next row are larger than any end of this one, so rows do not mix.
    width = kv_len + 1
    starts, ends = (np.sort(row[used] * width + side[used]) for side in (first, last))
    apart = starts[1:] > ends[:-1]
    opens, closes = np.ones(len(starts), dtype=np.bool_), np.ones(len(ends), dtype=np.bool_)
    opens[1:], closes[:-1] = apart, apart
    owner, first = np.divmod(starts[opens], width)
    return list_runs(owner, first, ends[closes] - owner * width, shape, kv_len)


def repeat_ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return all numbers of the ranges `[first, last)` one after the other, and the range that each is from."""
    counts = np.maximum(last - first, 0)
    check_budget(1, int(counts.sum()))
    owner = np.repeat(np.arange(len(counts)), counts)
    return np.arange(len(owner)) - (counts.cumsum() - counts - first)[owner], owner
