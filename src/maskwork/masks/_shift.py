"""`mask.shift(q=…, k=…)`: the same cells, further down or to the right. Part of the circle of `_mask.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import GridError
from ..spans import Spans
from ._arrays import as_int, as_ints
from ._extent import Extent
from ._joined import Constant
from ._mask import Mask, Queries
from ._questions.explain import Cell, Explanation, explanation
from ._text.registry import make
from ._text.spec import Spec

#: The largest shift: no position lies further from another.
_FURTHEST = 2**31 - 1


class Shift(Mask):
    """The mask of `Mask.shift`. Only `shifted` builds it."""

    def __init__(self, operand: Mask, q: int, k: int) -> None:
        self._set_operands((operand,))
        self.operand, self.q, self.k = operand, q, k
        # The first rows have no source, whatever the operand depends on.
        self.depends_on_query = operand.depends_on_query or q > 0
        self.relative = operand.relative and max(q, k) <= 0  # nothing is cut off at position 0
        self.many_runs = operand.many_runs

    def _spec(self) -> Spec:
        return Spec(".shift", (self.operand,), {"q": self.q, "k": self.k})

    def _check(self, extent: Extent) -> None:
        queries, keys = max(extent.queries - self.q, 0), max(extent.keys - self.k, 0)
        if max(queries, keys) >= 2**31:
            raise GridError(
                f"positions must be below 2**31, got cell ({queries - 1}, {keys - 1}) of {self!r}; shift it by less"
            )
        self.operand._check(Extent(queries, keys, full_length=False))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        sources = queries - self.q
        # Only a shift forth moves rows in from before position 0, which it leaves out.
        inner = self.operand._spans(np.maximum(sources, 0) if self.q > 0 else sources, max(kv_len - self.k, 0))
        starts, ends = (planes.astype(np.int64) + self.k for planes in (inner.planes_starts, inner.planes_ends))
        starts, ends = np.clip(starts, 0, kv_len), np.clip(ends, 0, kv_len)
        if self.q > 0 and (sources < 0).any():
            starts, ends = (np.where(sources < 0, kv_len, planes) for planes in (starts, ends))
        # Runs that end before key 0 come first in their row: emptied, they move behind the others.
        empty = starts >= ends
        starts, ends = (np.sort(np.where(empty, kv_len, planes), axis=0) for planes in (starts, ends))
        return Spans(starts.astype(np.int32), ends.astype(np.int32), kv_len).trim()

    def _explain(self, cell: Cell) -> Explanation:
        query, key = cell.query - self.q, cell.key - self.k
        reason = f"query {cell.query} and key {cell.key} stand for query {query} and key {key}"
        if key < 0 or (query < 0 and self.q > 0):
            return explanation(self, cell, False, f"{reason}, before position 0")
        inner = self.operand._explain(cell.move(query, key, max(cell.kv_len - self.k, 0)))
        return explanation(self, cell, inner.allowed, reason, [inner])


def shifted(mask: Mask, q: int, k: int) -> Mask:
    """Return `mask.shift(q=q, k=k)` in canonical form: at most two shifts, the first back and the second forth."""
    steps = [(_step(q, "q"), _step(k, "k"))]
    while isinstance(mask, Shift):
        steps.insert(0, (mask.q, mask.k))
        mask = mask.operand
    if mask == Constant(False):
        return mask
    # The axes do not touch each other, so each adds up alone.
    back_q, forth_q = _sum_of_steps([step[0] for step in steps], ignored=not mask.depends_on_query)
    back_k, forth_k = _sum_of_steps([step[1] for step in steps], ignored=mask.relative and not mask.depends_on_query)
    # Where only q - k counts, moving both axes back alike changes nothing.
    if mask.relative and max(back_q, back_k) < 0:
        both = max(back_q, back_k)
        back_q, forth_q = _sum_of_steps([back_q - both, forth_q], ignored=False)
        back_k, forth_k = _sum_of_steps([back_k - both, forth_k], ignored=False)
    for dq, dk in ((back_q, back_k), (forth_q, forth_k)):
        if (dq, dk) != (0, 0):
            mask = Shift(mask, _step(dq, "q"), _step(dk, "k"))
    return mask


def shifted_rows(mask: Mask, q: Any, k: Any) -> Mask:
    """Return `mask.shift(q=q, k=k)`: of shifts that differ between batch rows, one mask for each row."""
    sides: list[list[Any]] = []
    for value, name in ((q, "q"), (k, "k")):
        one_for_each = isinstance(value, (list, tuple)) or getattr(value, "ndim", 0)
        steps: list[Any] = [value]
        if one_for_each:
            steps = as_ints(value, f"shift({name})", ndims=(1,), minimum=None).tolist()
        sides.append([_step(step, name) for step in steps])
    rows = max(len(side) for side in sides)
    if any(len(side) not in (1, rows) for side in sides):
        raise GridError(
            f"shift takes an int, or one for each batch row, got {len(sides[0])} for q and {len(sides[1])} for k; pass "
            "as many as batch rows"
        )
    steps = [tuple(side[b if len(side) > 1 else 0] for side in sides) for b in range(rows)]
    if len(set(steps)) == 1:
        return shifted(mask, *steps[0])
    return make("per_row", ([shifted(mask, *step) for step in steps],), {})


def _step(value: int, name: str) -> int:
    return as_int(value, f"shift({name})", minimum=-_FURTHEST, maximum=_FURTHEST)


def _sum_of_steps(steps: list[int], *, ignored: bool) -> tuple[int, int]:
    """Return the shifts along one axis as one, or as one back and then one forth.

    Back and then forth loses what was cut off at position 0, so that this order stays; any other order adds up. Where
    a mask ignores the axis, moving it back changes nothing.
    """
    # `forth` is never negative, and positive only after a negative `back`.
    back, forth = 0, 0
    for step in steps:
        if back < 0 and forth + step > 0:
            forth += step
        else:
            back, forth = back + forth + step, 0
    return (forth, 0) if ignored and back < 0 else (back, forth)
