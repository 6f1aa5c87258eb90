"""Spans from unsorted runs, listed runs, dense rows, or chosen rows: whichever an atom computes most easily."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ._runs import Ints
from ._spans import Planes, Spans, check_budget, join_rows, single

#: Cells of one dense chunk: masks that depend on every cell are evaluated and turned into runs chunk by chunk.
CHUNK_CELLS = 1 << 22

# Rows that are built in one call: their planes stay in the second-level cache.
_CHUNK = 1 << 13


def gather_runs(starts: npt.ArrayLike, ends: npt.ArrayLike, kv_len: int) -> Spans:
    """Return the union of the runs of each row: `(R, B, H, Q)` each, in any order, clipped to the keys.

    With starts and ends sorted separately, a stretch closes at the k-th smallest end exactly when the next start lies
    beyond that end; see `_algebra`.

    >>> gather_runs([[[[4]]], [[[0]]], [[[2]]]], [[[[6]]], [[[2]]], [[[3]]]], 9).row(0)
    [(0, 3), (4, 6)]
    """
    first, last = np.broadcast_arrays(np.clip(starts, 0, kv_len), np.clip(ends, 0, kv_len))
    empty = first >= last
    planes_starts = np.where(empty, kv_len, first).astype(np.int32)
    planes_ends = np.where(empty, kv_len, last).astype(np.int32)
    _sort(planes_starts)
    _sort(planes_ends)
    joined = planes_starts[1:] <= planes_ends[:-1]
    if joined.any():
        planes_starts[1:][joined] = kv_len
        planes_ends[:-1][joined] = kv_len
        _sort(planes_starts)
        _sort(planes_ends)
    return Spans(planes_starts, planes_ends, kv_len).trim()


def list_runs(row: Ints, start: Ints, end: Ints, shape: tuple[int, int, int], kv_len: int) -> Spans:
    """Build spans from a list of merged runs, sorted by row and start; `row` is a flat index of `shape`."""
    return _list_runs(np.bincount(row, minlength=shape[0] * shape[1] * shape[2]), start, end, shape, kv_len)


def _list_runs(count: Ints, start: Ints, end: Ints, shape: tuple[int, int, int], kv_len: int) -> Spans:
    """Build spans from a list of merged runs, of which each row has `count`, `(rows,)`."""
    rows = len(count)
    runs = max(int(count.max(initial=0)), 1)
    check_budget(runs, rows)
    # The slot of each run, where the slots of a row follow one another in memory: its row's first, and one more each.
    slot = np.arange(len(start)) + np.repeat(np.arange(rows) * runs - (count.cumsum() - count), count)
    sides: list[Planes] = []
    for edges in (start, end):
        slots = np.full(rows * runs, kv_len, dtype=np.int32)
        slots[slot] = edges
        sides.append(np.ascontiguousarray(slots.reshape(rows, runs).T).reshape(runs, *shape))
    return Spans(sides[0], sides[1], kv_len)


def scan_rows(chunks: Iterable[npt.NDArray[np.bool_]], shape: tuple[int, int, int], kv_len: int) -> Spans:
    """Return the runs of dense bool rows: chunks of `(rows, K)` that together are the rows of `shape` in order."""
    rows = shape[0] * shape[1] * shape[2]
    parts = [single(0, np.zeros((1, 1, 0), dtype=np.int32), kv_len)]
    for chunk in chunks:
        # One forbidden cell before each row and one behind the last keep the rows apart.
        width = kv_len + 1
        padded = np.zeros(len(chunk) * width + 1, dtype=np.bool_)
        padded[:-1].reshape(len(chunk), width)[:, 1:] = chunk
        # A run starts and ends where neighbours differ, so that starts (even indices) and ends (odd ones) alternate.
        edge = np.flatnonzero(padded[1:] != padded[:-1])
        # Each row's edges lie between its first cell and the next row's.
        count = np.diff(np.searchsorted(edge, np.arange(len(chunk) + 1) * width)) // 2
        edge -= np.repeat(np.arange(len(chunk)) * width, 2 * count)
        parts.append(_list_runs(count, edge[::2], edge[1::2], (1, 1, len(chunk)), kv_len))
        check_budget(parts[-1].runs, rows)  # a checkerboard must end here, before its runs outgrow memory
    joined = join_rows(parts, [part.shape[2] for part in parts])
    starts, ends = (planes.reshape(joined.runs, *shape) for planes in (joined.planes_starts, joined.planes_ends))
    return Spans(starts, ends, kv_len)


def take_rows(spans: Spans, rows: Ints) -> Spans:
    """Return the rows of `spans` at these indices `(B, H, Q)`, in any order and with repeats."""
    if spans.one_row().shape[2] == 1:
        return spans.one_row()
    shape = np.broadcast_shapes(spans.shape[:2], rows.shape[:2])
    check_budget(spans.runs, shape[0] * shape[1] * rows.shape[2])
    sides: list[Planes] = []
    for planes in (spans.planes_starts, spans.planes_ends):
        if rows.shape[:2] == (1, 1):
            sides.append(planes[..., rows[0, 0]])
        else:
            sides.append(np.take_along_axis(planes, rows[None], axis=-1))
    return Spans(sides[0], sides[1], spans.kv_len).trim()


def distinct(values: Ints) -> tuple[Ints, Ints]:
    """Return sorted numbers that include all of `values`, and the index of each value in those numbers."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, -1)
    if high - low <= 2 * values.size:  # dense, as the rows of a grid are: no sort is needed
        return np.arange(low, high + 1, dtype=np.int64), values - low
    names, index = np.unique(values, return_inverse=True)
    return names, index.reshape(values.shape)


def by_chunks(queries: Ints, kv_len: int, make: Callable[[Ints], Spans]) -> Spans:
    """Call `make` for chunks of the queries that fit the cache, and join the results."""
    if queries.shape[2] <= _CHUNK:
        return make(queries)
    parts = [make(queries[..., i : i + _CHUNK]) for i in range(0, queries.shape[2], _CHUNK)]
    runs = max(part.runs for part in parts)
    shape = (runs, *parts[0].shape[:2], queries.shape[2])
    starts, ends = np.full(shape, kv_len, dtype=np.int32), np.full(shape, kv_len, dtype=np.int32)
    for i, part in enumerate(parts):
        chunk = slice(i * _CHUNK, (i + 1) * _CHUNK)
        starts[: part.runs, ..., chunk] = part.planes_starts
        ends[: part.runs, ..., chunk] = part.planes_ends
    return Spans(starts, ends, kv_len)


def _sort(planes: Planes) -> None:
    unsorted = (planes[:-1] > planes[1:]).any(axis=0)
    if unsorted.any():
        # The runs of a row are contiguous while they are sorted: several times faster than sorting across planes.
        planes[:, unsorted] = np.sort(np.ascontiguousarray(planes[:, unsorted].T), axis=1).T
