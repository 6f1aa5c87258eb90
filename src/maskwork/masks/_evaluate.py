"""`evaluate`: the spans of a mask on a grid, by chunks of rows: intermediate planes stay small and cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import spans as sp
from ..spans import Spans
from ._grid import Grid

if TYPE_CHECKING:
    from ._mask import Mask

# Rows of one chunk: the planes of a typical expression fit the second-level cache.
_CHUNK = 1 << 15


def evaluate(mask: Mask, grid: Grid) -> Spans:
    """Return the spans of every query. A mask that ignores the query gets one row, broadcast by the caller."""
    if not mask.depends_on_query:
        return mask._spans(grid.queries(0, min(grid.q_len, 1)), grid.kv_len)
    sp.check_budget(1, grid.q_len)
    if grid.q_len <= _CHUNK or _needs_all_rows(mask):
        return mask._spans(grid.queries(), grid.kv_len)
    parts: list[Spans] = []
    runs, firsts = 1, range(0, grid.q_len, _CHUNK)
    for i in firsts:
        part = mask._spans(grid.queries(i, i + _CHUNK), grid.kv_len)
        parts.append(part)
        # Each part is within the budget; their sum is checked as it grows, before it fills the memory.
        runs = max(runs, part.runs)
        sp.check_budget(runs, part.shape[0] * part.shape[1] * grid.q_len)
    return sp.join_rows(parts, [min(_CHUNK, grid.q_len - i) for i in firsts])


def _needs_all_rows(mask: Mask) -> bool:
    """Return whether a part of `mask` budgets its work over all rows of a call, so that rows cannot come in chunks."""
    return mask.single_pass or any(_needs_all_rows(operand) for operand in mask.operands)
