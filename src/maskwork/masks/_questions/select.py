"""`select`: chosen queries against chosen keys, in any order, as a rolling cache or a shard holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import spans as sp
from ...errors import GridError
from ...spans import Spans
from .._arrays import Ints, array_repr, as_ints
from .._grid import Grid


def select(
    text: str, grid: Grid, positions: tuple[Ints, Ints], rows_at: Callable[[Ints | None], Spans], q: Any, k: Any
) -> tuple[str, Spans, Grid, tuple[Ints, Ints]]:
    """Return text, spans, grid and positions of queries `q` against keys `k`: `BoundMask.select` documents both.

    Args:
        text: what is selected from, in words.
        grid: its grid.
        positions: of its queries and keys, `(1 | B, Q)` and `(1 | B, K)`.
        rows_at: returns the geometry of these absolute query positions `(1 | B, Q')`, of all queries for None.
        q: absolute query positions `(Q',)` or `(B, Q')`, None = all.
        k: absolute key positions likewise, None = all; -1 is an empty slot.
    """
    queries = None if q is None else _positions(q, "select(q)", grid, grid.starts, grid.starts + grid.q_len)
    keys = None if k is None else _positions(k, "select(k)", grid, np.array([-1]), np.array([grid.kv_len]))
    spans = rows_at(queries)
    if keys is not None:
        parts = [sp.take_keys(spans.batch_row(b), row) for b, row in enumerate(keys)]
        spans = sp.take_keys(spans, keys[0]) if len(keys) == 1 else sp.join_batch(parts)
    chosen = [f"{name}={array_repr(array)}" for name, array in (("q", queries), ("k", keys)) if array is not None]
    # The selection has positions of its own: row i and column j stand at i and j.
    selected = Grid(0, spans.shape[2], spans.kv_len, grid.batch, grid.heads, grid.start_given)
    q_positions = _moved(positions[0], queries, grid.starts)
    k_positions = _moved(positions[1], keys, np.zeros(1, dtype=np.int64))
    if keys is not None:
        k_positions = np.where(keys < 0, -1, k_positions)
    return f"({text}).select({', '.join(chosen)})", spans, selected, (q_positions, k_positions)


def _positions(values: Any, name: str, grid: Grid, low: Ints, high: Ints) -> Ints:
    """Return selected positions as int64 `(1 | B, N)`, after checking that `low <= position < high` in each row."""
    array = np.atleast_2d(as_ints(values, name, ndims=(1, 2), minimum=None, squeeze=False))
    if len(array) not in (1, grid.batch):
        raise GridError(
            f"{name} takes positions for all batch rows, or those of each of the {grid.batch}, got {len(array)} rows; "
            f"pass as many as batch rows, or bind with batch={len(array)}"
        )
    if array.size and ((array < low[:, None]) | (array >= high[:, None])).any():
        low, high, array = np.broadcast_arrays(low[:, None], high[:, None], array)
        outside = int(((array < low) | (array >= high)).any(axis=1).argmax())  # the first such batch row
        row = array[outside]
        of_row = f" in batch row {outside}" if len(array) > 1 else ""
        raise GridError(
            f"{name} takes positions in [{low[outside, 0]}, {high[outside, 0]}){of_row}, got {row.min()} to "
            f"{row.max()}; bind a longer grid (binding is free until rows are read)"
        )
    return array


def _moved(positions: Ints, chosen: Ints | None, starts: Ints) -> Ints:
    """Return the positions of what was chosen, `(1 | B, N)`: of a selection, those that it selected from itself."""
    if chosen is None:
        return positions
    index = chosen - starts[:, None]
    rows = np.broadcast_to(positions, (max(len(positions), len(index)), positions.shape[1]))
    index = np.broadcast_to(index, (len(rows), index.shape[1]))
    return np.take_along_axis(rows, np.maximum(index, 0), 1) if positions.shape[1] else index
