"""Spans built from what an atom finds easiest to say: unsorted runs, listed runs, dense rows, or rows of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ._spans import Planes, Spans, check_budget, join_rows, single

Ints = npt.NDArray[np.int64]

#: Cells that a dense chunk holds at a time: what depends on every cell is made and turned into runs by pieces.
CHUNK_CELLS = 1 << 22

#: Rows that are built at a time: a few planes of them stay in the second-level cache.
_CHUNK = 1 << 13


def gather_runs(starts: npt.ArrayLike, ends: npt.ArrayLike, kv_len: int) -> Spans:
    """The union of any runs a row, in any order: `(R, B, H, Q)` each, clipped to the keys.

    With starts and ends sorted apart, a stretch closes at the k-th smallest end exactly when the next start lies
    beyond it; see `_algebra`.

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
    """Runs listed one by one, sorted by row and start, disjoint and merged; `row` counts through `shape`."""
    rows = shape[0] * shape[1] * shape[2]
    count = np.bincount(row, minlength=rows)
    runs = max(int(count.max(initial=0)), 1)
    check_budget(runs, rows)
    rank = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
    planes_starts = np.full((runs, rows), kv_len, dtype=np.int32)
    planes_ends = planes_starts.copy()
    planes_starts[rank, row] = start
    planes_ends[rank, row] = end
    return Spans(planes_starts.reshape(runs, *shape), planes_ends.reshape(runs, *shape), kv_len)


def scan_rows(chunks: Iterable[npt.NDArray[np.bool_]], shape: tuple[int, int, int], kv_len: int) -> Spans:
    """The runs of dense bool rows `(rows, K)`, given by pieces that together count through `shape`."""
    rows = shape[0] * shape[1] * shape[2]
    parts = [single(0, np.zeros((1, 1, 0), dtype=np.int32), kv_len)]
    for chunk in chunks:
        padded = np.zeros((len(chunk), kv_len + 2), dtype=np.bool_)
        padded[:, 1:-1] = chunk
        # In each row the edges alternate: a run starts, and ends.
        at = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
        of = at // (kv_len + 1)
        edge = at - of * (kv_len + 1)
        parts.append(list_runs(of[::2], edge[::2], edge[1::2], (1, 1, len(chunk)), kv_len))
        check_budget(parts[-1].runs, rows)  # a checkerboard must end here, before its runs outgrow memory
    whole = join_rows(parts, [part.shape[2] for part in parts])
    starts, ends = (planes.reshape(whole.runs, *shape) for planes in (whole.planes_starts, whole.planes_ends))
    return Spans(starts, ends, kv_len)


def take_rows(spans: Spans, rows: Ints) -> Spans:
    """The rows at these indices `(B, H, Q)` of `spans`, in any order and with repeats."""
    if spans.shape[2] == 1:
        return spans
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
    """Sorted numbers that include all of `values`, and the index of each value among them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, -1)
    if high - low <= 2 * values.size:  # neighbours, as the rows of a grid are: no sort is needed
        return np.arange(low, high + 1, dtype=np.int64), values - low
    names, index = np.unique(values, return_inverse=True)
    return names, index.reshape(values.shape)


def by_chunks(queries: Ints, kv_len: int, make: Callable[[Ints], Spans]) -> Spans:
    """`make` of all queries, asked a cache's worth of rows at a time."""
    if queries.shape[2] <= _CHUNK:
        return make(queries)
    parts = [make(queries[..., i : i + _CHUNK]) for i in range(0, queries.shape[2], _CHUNK)]
    runs = max(part.runs for part in parts)
    shape = (runs, *parts[0].shape[:2], queries.shape[2])
    starts, ends = np.full(shape, kv_len, dtype=np.int32), np.full(shape, kv_len, dtype=np.int32)
    for i, part in enumerate(parts):
        here = slice(i * _CHUNK, (i + 1) * _CHUNK)
        starts[: part.runs, ..., here] = part.planes_starts
        ends[: part.runs, ..., here] = part.planes_ends
    return Spans(starts, ends, kv_len)


def _sort(planes: Planes) -> None:
    bad = (planes[:-1] > planes[1:]).any(axis=0)
    if bad.any():
        # A row lies contiguous while it is sorted: several times faster than sorting across planes.
        planes[:, bad] = np.sort(np.ascontiguousarray(planes[:, bad].T), axis=1).T
