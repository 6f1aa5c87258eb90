"""`mask.shift(q=…, k=…)`: the same cells, further down or to the right."""

from __future__ import annotations

import numpy as np

from ..errors import GridError
from ..spans import Spans
from ._arrays import as_int
from ._extent import Extent
from ._mask import Constant, Mask, Queries, bracketed
from ._questions.explain import Cell, Explanation, explanation
from ._text.written import Written

_FURTHEST = 2**31 - 1


class Shift(Mask):
    """See `Mask.shift`. Built by `shifted` only."""

    def __init__(self, operand: Mask, q: int, k: int) -> None:
        self._hold((operand,))
        self.operand, self.q, self.k = operand, q, k
        # The first rows have no source, whatever the operand depends on.
        self.depends_on_query = operand.depends_on_query or q > 0
        self.relative = operand.relative and max(q, k) <= 0  # nothing is cut off at position 0

    def _written(self) -> Written:
        return Written(".shift", (self.operand,), {"q": self.q, "k": self.k})

    def _text(self) -> str:
        return f"{bracketed(self.operand, self._level)}.shift(q={self.q}, k={self.k})"

    def _check(self, extent: Extent) -> None:
        queries, keys = max(extent.queries - self.q, 0), max(extent.keys - self.k, 0)
        if max(queries, keys) >= 2**31:
            raise GridError(
                f"positions must be below 2**31, {self!r} asks for cell ({queries - 1}, {keys - 1}); shift it by less"
            )
        self.operand._check(Extent(queries, keys, whole=False))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        sources = queries - self.q
        inner = self.operand._spans(np.maximum(sources, 0), max(kv_len - self.k, 0))
        starts, ends = (planes.astype(np.int64) + self.k for planes in (inner.planes_starts, inner.planes_ends))
        starts, ends = np.clip(starts, 0, kv_len), np.clip(ends, 0, kv_len)
        if (sources < 0).any():
            starts, ends = (np.where(sources < 0, kv_len, planes) for planes in (starts, ends))
        # Runs that end before key 0 come first in their row: emptied, they move behind the others.
        empty = starts >= ends
        starts, ends = (np.sort(np.where(empty, kv_len, planes), axis=0) for planes in (starts, ends))
        return Spans(starts.astype(np.int32), ends.astype(np.int32), kv_len).trim()

    def _explain(self, cell: Cell) -> Explanation:
        query, key = cell.query - self.q, cell.key - self.k
        reason = f"query {cell.query} and key {cell.key} stand for query {query} and key {key}"
        if min(query, key) < 0:
            return explanation(self, cell, False, f"{reason}, before position 0")
        inner = self.operand._explain(cell.move(query, key, max(cell.kv_len - self.k, 0)))
        return explanation(self, cell, inner.allowed, reason, [inner])


def shifted(mask: Mask, q: int, k: int) -> Mask:
    """`mask.shift(q=q, k=k)` in canonical form: at most two shifts, the first back and the second forth."""
    steps = [(_step(q, "q"), _step(k, "k"))]
    while isinstance(mask, Shift):
        steps.insert(0, (mask.q, mask.k))
        mask = mask.operand
    if mask == Constant(False):
        return mask
    # The axes do not touch each other, so each adds up alone.
    first_q, then_q = _added([step[0] for step in steps], blind=not mask.depends_on_query)
    first_k, then_k = _added([step[1] for step in steps], blind=mask.relative and not mask.depends_on_query)
    if mask.relative and max(first_q, first_k) < 0:
        both = max(first_q, first_k)
        first_q, then_q = _added([first_q - both, then_q], blind=False)
        first_k, then_k = _added([first_k - both, then_k], blind=False)
    for dq, dk in ((first_q, first_k), (then_q, then_k)):
        if (dq, dk) != (0, 0):
            mask = Shift(mask, _step(dq, "q"), _step(dk, "k"))
    return mask


def _step(value: int, name: str) -> int:
    return as_int(value, f"shift({name})", minimum=-_FURTHEST, maximum=_FURTHEST)


def _added(steps: list[int], *, blind: bool) -> tuple[int, int]:
    """The same shifts along one axis as one, or as one back and then one forth.

    Back and then forth loses what was cut off at position 0, so that order stays; any other adds up. Where a mask is
    blind to the axis, moving it back changes nothing.
    """
    first, then = 0, 0  # `then` is never negative, and positive only after a negative `first`
    for step in steps:
        if first < 0 and then + step > 0:
            then += step
        else:
            first, then = first + then + step, 0
    return (then, 0) if blind and first < 0 else (first, then)
