"""`reach`: what can influence what through several layers of a mask with residual connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ... import spans as sp
from ...spans import Spans
from .._arrays import as_int
from .._extent import Extent
from .._grid import Grid, evaluate

if TYPE_CHECKING:
    from .._mask import Mask


def reach(mask: Mask, grid: Grid, spans: Callable[[], Spans], layers: int, budget: int) -> tuple[str, Spans, Grid]:
    """Return text, spans and grid of the reach through `layers` layers: `BoundMask.reach` documents it.

    Args:
        mask: the mask of every layer.
        grid: the queries that are followed back, and the keys.
        spans: returns the mask's geometry on the grid; no layer needs none.
        layers: number of layers, at least 0.
        budget: interval slots that may be merged.
    """
    layers, budget = as_int(layers, "reach(layers)", minimum=0), as_int(budget, "reach(budget)", minimum=1)
    rows = _diagonal(grid)
    if layers:
        rows = sp.union(sp.over_heads(spans()), rows)
    if layers > 1:
        # The keys in between are queries of the layer below, wherever they stand: a grid of all positions.
        positions = Grid(0, grid.kv_len, grid.kv_len, grid.batch, grid.heads)
        mask._check(Extent(max(grid.q_end, grid.kv_len), grid.kv_len, full_length=False))
        step = spans() if positions == grid else evaluate(mask, positions)
        rows = sp.reach(rows, sp.union(sp.over_heads(step), _diagonal(positions)), layers, budget)
    # any head may carry the influence: one head is left
    return (
        f"({mask!r}).reach({layers})",
        rows,
        Grid(grid.q_start, grid.q_len, grid.kv_len, grid.batch, start_given=grid.start_given),
    )


def _diagonal(grid: Grid) -> Spans:
    """Return the cells `k == q`: the residual stream carries every position to itself."""
    sp.check_budget(1, grid.q_len)
    return sp.single(grid.queries(), grid.queries() + 1, grid.kv_len)
