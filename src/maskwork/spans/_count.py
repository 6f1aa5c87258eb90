"""Exact counts of allowed cells on a grid of rectangles, without visiting a cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._spans import Planes, Spans

Edges = npt.NDArray[np.int64]


def count_tiles(spans: Spans, q_edges: Edges, k_edges: Edges) -> npt.NDArray[np.int64]:
    """Allowed cells in each rectangle between neighbouring edges.

    Args:
        spans: the geometry, rows numbered from 0.
        q_edges: int64, non-decreasing row indices within `[0, Q]`.
        k_edges: int64, non-decreasing key positions within `[0, kv_len]`.

    Returns:
        int64 `(B, H, len(q_edges) - 1, len(k_edges) - 1)`.

    A run [s, e) has max(0, x - s) - max(0, x - e) cells below a key edge x. Summed over the rows of a tile row, that
    needs only how many starts lie below each edge and their sum: two histograms, whatever the number of keys.
    """
    batch, heads, rows = spans.shape
    out = np.zeros((batch, heads, len(q_edges) - 1, len(k_edges) - 1), dtype=np.int64)
    tile_row = np.searchsorted(q_edges, np.arange(rows), side="right") - 1
    inside = (tile_row >= 0) & (tile_row < len(q_edges) - 1)
    for b in range(batch):
        for h in range(heads):
            below = _below(spans.planes_starts[:, b, h], tile_row, inside, q_edges, k_edges)
            below -= _below(spans.planes_ends[:, b, h], tile_row, inside, q_edges, k_edges)
            out[b, h] = np.diff(below, axis=1)
    return out


def _below(
    planes: Planes, tile_row: Edges, inside: npt.NDArray[np.bool_], q_edges: Edges, k_edges: Edges
) -> npt.NDArray[np.int64]:
    """int64 (tile rows, key edges): the sum over points p of max(0, edge - p)."""
    shape = (len(q_edges) - 1, len(k_edges) + 1)
    number = np.zeros(shape[0] * shape[1], dtype=np.int64)
    total = np.zeros(shape[0] * shape[1], dtype=np.float64)
    for plane in planes:
        points = plane[inside].astype(np.int64)
        # Column j holds the points p with k_edges[j - 1] <= p < k_edges[j]: those that edge j is the first to pass.
        column = np.asarray(np.searchsorted(k_edges, points, side="right"), dtype=np.int64)
        slot = tile_row[inside] * shape[1] + column
        number += np.bincount(slot, minlength=number.size)
        # float64 sums of integers are exact below 2**53, more than 4 million rows of 2**31 keys.
        total += np.bincount(slot, weights=points, minlength=total.size)
    number = number.reshape(shape).cumsum(axis=1)[:, :-1]
    sums = total.astype(np.int64).reshape(shape).cumsum(axis=1)[:, :-1]
    return number * k_edges - sums
