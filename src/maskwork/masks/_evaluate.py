"""Masks into geometry, some rows at a time: what an expression builds on the way then stays small and in the cache."""

from __future__ import annotations

from .. import spans as sp
from ..spans import Spans
from ._grid import Grid
from ._mask import Mask

_CHUNK = 1 << 15


def _at_once(mask: Mask) -> bool:
    """Whether a part counts its work over all rows that are asked for, and must see the whole question."""
    return mask.at_once or any(_at_once(operand) for operand in mask.operands)


def evaluate(mask: Mask, grid: Grid) -> Spans:
    """The geometry of all the grid's rows."""
    if grid.q_len <= _CHUNK or not mask.depends_on_query or _at_once(mask):
        return mask._spans(grid.queries(), grid.kv_len)
    queries = grid.queries()
    firsts = range(0, grid.q_len, _CHUNK)
    parts = [mask._spans(queries[..., i : i + _CHUNK], grid.kv_len) for i in firsts]
    return sp.join_rows(parts, [min(_CHUNK, grid.q_len - i) for i in firsts])
