"""Geometries made from bound masks: `select` (chosen queries and keys) and `reach` (through layers).

Neither is a rule about positions any more, so neither can be asked beyond the grid that it was made on: what stands for
it in a `BoundMask` is a mask known by its text and its cells alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import spans as sp
from ...errors import GridError, MaskError
from ...spans import Spans
from .._arrays import Ints, array_repr, as_int, as_ints
from .._evaluate import evaluate
from .._extent import Extent
from .._grid import Grid
from .._mask import Mask, Queries
from .._text.spec import Arrays

if TYPE_CHECKING:
    from .._bound import BoundMask


class Derived(Mask):
    """A mask that is its cells: the text says how they came about."""

    def __init__(self, text: str, spans: Spans, q_start: int) -> None:
        self.text, self.spans, self.q_start = text, spans, q_start

    def __reduce__(self) -> tuple[Any, ...]:
        return Derived, (self.text, self.spans, self.q_start)

    def _identity(self) -> tuple[Any, ...]:
        planes = np.ascontiguousarray(self.spans.planes_starts), np.ascontiguousarray(self.spans.planes_ends)
        digest = hashlib.sha256(planes[0].tobytes() + planes[1].tobytes()).hexdigest()
        return ("derived", self.q_start, self.spans.kv_len, self.spans.planes_starts.shape, digest)

    @property
    def batch(self) -> int:
        return self.spans.shape[0]

    @property
    def heads(self) -> int:
        return self.spans.shape[1]

    def _write(self, arrays: Arrays) -> str:
        if arrays == "full":
            raise MaskError(f"a selection or reach is its cells, {self.text:.60} has no text that can be read back")
        return self.text

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        rows = queries[0, 0] - self.q_start
        if len(queries) > 1 or kv_len != self.spans.kv_len or ((rows < 0) | (rows >= self.spans.shape[2])).any():
            end = self.q_start + self.spans.shape[2]
            raise GridError(
                f"{self.text} is known on its own grid alone, queries "
                f"[{self.q_start}, {end}) and keys [0, {self.spans.kv_len}); derive it again on a larger one"
            )
        return sp.pick_rows(self.spans, rows)


def select(bound: BoundMask, q: Any, k: Any) -> BoundMask:
    """See `BoundMask.select`."""
    grid = bound.grid
    rows = None if q is None else _positions(q, "select(q)", grid.q_start, grid.q_end)
    keys = None if k is None else _positions(k, "select(k)", -1, grid.kv_len)
    spans = bound.spans if rows is None else bound.rows_at(rows)
    if keys is not None:
        spans = sp.take_keys(spans, keys)
    chosen = [f"{name}={array_repr(array)}" for name, array in (("q", rows), ("k", keys)) if array is not None]
    text = f"({bound.mask!r}).select({', '.join(chosen)})"
    here = Grid(0, spans.shape[2], spans.kv_len, grid.batch, grid.heads)
    return _derived(text, spans, here)


def _positions(values: Any, name: str, low: int, high: int) -> Ints:
    array = as_ints(values, name, ndims=(1,), minimum=None)
    if len(array) and (array.min() < low or array.max() >= high):
        raise GridError(
            f"{name} takes positions in [{low}, {high}), found {array.min()} to {array.max()}; "
            "bind a grid that holds them (binding costs nothing until rows are asked for)"
        )
    return array


def reach(bound: BoundMask, layers: int, budget: int) -> BoundMask:
    """See `BoundMask.reach`."""
    grid = bound.grid
    if as_int(layers, "reach(layers)", minimum=0) == 0:
        rows = _itself(grid)
    else:
        rows = sp.union(sp.over_heads(bound.spans), _itself(grid))
    if layers > 1:
        whole = Grid(0, grid.kv_len, grid.kv_len, grid.batch, grid.heads)
        bound.mask._check(Extent(max(grid.q_end, grid.kv_len), grid.kv_len, full_length=False))
        among = bound.spans if whole == grid else evaluate(bound.mask, whole)
        among = sp.union(sp.over_heads(among), _itself(whole))
        rows = sp.reach(rows, among, layers, as_int(budget, "reach(budget)", minimum=1))
    return _derived(f"({bound.mask!r}).reach({layers})", rows, Grid(grid.q_start, grid.q_len, grid.kv_len, grid.batch))


def _itself(grid: Grid) -> Spans:
    """The diagonal: the residual stream carries every position to itself."""
    sp.check_budget(1, grid.q_len)
    return sp.single(grid.queries(), grid.queries() + 1, grid.kv_len)


def _derived(text: str, spans: Spans, grid: Grid) -> BoundMask:
    from .._bound import BoundMask

    return BoundMask(Derived(text, spans, grid.q_start), grid, spans)
