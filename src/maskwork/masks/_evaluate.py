"""Masks into geometry, some rows at a time: what an expression builds on the way then stays small and in the cache."""

from __future__ import annotations

from .. import spans as sp
from ..spans import Spans
from ._grid import Grid
from ._mask import Mask

_CHUNK = 1 << 15


def _at_once(mask: Mask) -> bool:
    """Whether a part counts its work over all rows that are asked for, and must see the whole question."""
    return mask.single_pass or any(_at_once(operand) for operand in mask.operands)


def evaluate(mask: Mask, grid: Grid) -> Spans:
    """The geometry of all the grid's rows, or, of a mask that is blind to the query, of one that stands for all."""
    if not mask.depends_on_query:
        return mask._spans(grid.queries(0, min(grid.q_len, 1)), grid.kv_len)
    sp.check_budget(1, grid.q_len)
    if grid.q_len <= _CHUNK or _at_once(mask):
        return mask._spans(grid.queries(), grid.kv_len)
    parts: list[Spans] = []
    runs, firsts = 1, range(0, grid.q_len, _CHUNK)
    for i in firsts:
        part = mask._spans(grid.queries(i, i + _CHUNK), grid.kv_len)
        parts.append(part)
        # each part keeps to the budget, and so must all of them together, before they fill the memory
        runs = max(runs, part.runs)
        sp.check_budget(runs, part.shape[0] * part.shape[1] * grid.q_len)
    return sp.join_rows(parts, [min(_CHUNK, grid.q_len - i) for i in firsts])
