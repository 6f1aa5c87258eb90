"""Exact counts of allowed cells on a grid of rectangles, without visiting a cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._spans import Planes, Spans

Edges = npt.NDArray[np.int64]

# Rows that are counted in one call: their points stay in the second-level cache.
_CHUNK = 1 << 15


def count_tiles(spans: Spans, q_edges: Edges, k_edges: Edges) -> npt.NDArray[np.int64]:
    """Count the allowed cells in each rectangle between neighbouring edges.

    Args:
        spans: the geometry, rows numbered from 0.
        q_edges: int64, non-decreasing row indices within `[0, Q]`.
        k_edges: int64, non-decreasing key positions within `[0, kv_len]`.

    Returns:
        int64 `(B, H, len(q_edges) - 1, len(k_edges) - 1)`.

    A run [s, e) has max(0, x - s) - max(0, x - e) cells below a key edge x. The sum over the rows of a tile row needs
    only the number of starts (and ends) below each edge and their sum: two histograms, whatever the number of keys.
    """
    one = spans.one_row()
    if one is not spans:  # the count of one row, as often as a tile has rows
        counts = count_tiles(one, np.array([0, 1], dtype=np.int64), k_edges)
        return counts * np.diff(q_edges)[:, None]
    batch, heads, _ = spans.shape
    lines = len(q_edges) - 1
    out = np.zeros((batch, heads, lines, len(k_edges) - 1), dtype=np.int64)
    points = spans.runs * batch * heads * int(q_edges[-1] - q_edges[0])
    # Column j holds the points p with k_edges[j - 1] <= p < k_edges[j]. For many points, a table with the column of
    # every key is cheaper than a search for each point.
    columns = None
    if points > spans.kv_len:
        widths = np.diff(np.concatenate([[0], k_edges, [spans.kv_len + 1]]))
        columns = np.repeat(np.arange(len(k_edges) + 1, dtype=np.int32), widths)
    first = 0
    while first < lines:
        last = max(int(np.searchsorted(q_edges, int(q_edges[first]) + _CHUNK, side="right")) - 1, first + 1)
        last = min(last, lines)
        rows = slice(int(q_edges[first]), int(q_edges[last]))
        # for each row of the mask, the offset of its tile row in the flattened histograms
        line = np.repeat(np.arange(last - first) * (len(k_edges) + 1), np.diff(q_edges[first : last + 1]))
        for b in range(batch):
            for h in range(heads):
                starts, ends = spans.planes_starts[:, b, h, rows], spans.planes_ends[:, b, h, rows]
                n_starts, sum_starts = _histograms(starts, line, last - first, k_edges, columns)
                n_ends, sum_ends = _histograms(ends, line, last - first, k_edges, columns)
                # sum over points p below the edge x of (x - p) = n * x - sum, for starts minus for ends
                number, total = n_starts - n_ends, sum_starts - sum_ends
                below = number.cumsum(axis=1)[:, :-1] * k_edges - total.cumsum(axis=1)[:, :-1]
                out[b, h, first:last] = np.diff(below, axis=1)
        first = last
    return out


def _histograms(
    planes: Planes, line: Edges, lines: int, k_edges: Edges, columns: Planes | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the number of points in each column and their sum: int64 `(tile rows, key edges + 1)` each."""
    shape = (lines, len(k_edges) + 1)
    number = np.zeros(lines * shape[1], dtype=np.int64)
    total = np.zeros(lines * shape[1], dtype=np.float64)
    # Few rows of many runs are counted at once, as if each run had a row.
    if len(planes) > planes.shape[1]:
        line, planes = np.tile(line, len(planes)), planes.reshape(1, -1)
    for plane in planes:
        slot = line + (_search(k_edges, plane) if columns is None else _look_up(columns, plane))
        number += np.bincount(slot, minlength=number.size)
        # float64 sums of integers are exact below 2**53, more than 4 million rows of 2**31 keys.
        total += np.bincount(slot, weights=plane, minlength=total.size)
    return number.reshape(shape), total.astype(np.int64).reshape(shape)


def _look_up(columns: Planes, points: Planes) -> Edges:
    return np.asarray(np.take(columns, points), dtype=np.int64)


def _search(k_edges: Edges, points: Planes) -> Edges:
    return np.asarray(np.searchsorted(k_edges, points, side="right"), dtype=np.int64)
