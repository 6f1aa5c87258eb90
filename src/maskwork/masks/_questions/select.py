"""`select`: chosen queries against chosen keys, in any order, as a rolling cache or a shard holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import spans as sp
from ...errors import GridError
from ...spans import Spans
from .._arrays import Ints, array_repr, as_ints
from .._grid import Grid


def select(text: str, grid: Grid, rows_at: Callable[[Ints | None], Spans], q: Any, k: Any) -> tuple[str, Spans, Grid]:
    """Return text, spans and grid of queries `q` against keys `k`: `BoundMask.select` documents both.

    Args:
        text: what is selected from, in words.
        grid: its grid.
        rows_at: returns the geometry of these absolute query positions, of all queries for None.
        q: absolute query positions, None = all.
        k: absolute key positions, None = all; -1 is an empty slot.
    """
    queries = None if q is None else _positions(q, "select(q)", grid.q_start, grid.q_end)
    keys = None if k is None else _positions(k, "select(k)", -1, grid.kv_len)
    spans = rows_at(queries)
    if keys is not None:
        spans = sp.take_keys(spans, keys)
    chosen = [f"{name}={array_repr(array)}" for name, array in (("q", queries), ("k", keys)) if array is not None]
    # The selection has positions of its own: row i and column j stand at i and j.
    selected = Grid(0, spans.shape[2], spans.kv_len, grid.batch, grid.heads)
    return f"({text}).select({', '.join(chosen)})", spans, selected


def _positions(values: Any, name: str, low: int, high: int) -> Ints:
    array = as_ints(values, name, ndims=(1,), minimum=None)
    if len(array) and (array.min() < low or array.max() >= high):
        raise GridError(
            f"{name} takes positions in [{low}, {high}), got {array.min()} to {array.max()}; bind a longer grid "
            "(binding is free until rows are read)"
        )
    return array
