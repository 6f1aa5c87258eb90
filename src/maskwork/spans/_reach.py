"""Composition of geometries: the keys that a row reaches through several layers, by doubling stretches of rows.

Row i of `second` after `first` is the union of the rows of `second` over the keys that row i of `first` sees. Over a
run [s, e) of keys, that union is the union of two overlapping stretches of 2**level rows, as in a sparse table. The
stretches of each length are built from those of half that length, and only one length is in memory at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import TooManySpans
from ._algebra import union
from ._compare import first_difference
from ._runs import Ints
from ._select import pick_rows
from ._spans import Spans, join_batch

#: Interval slots that one call of `reach` may merge by default: about a minute of work.
REACH_BUDGET = 1 << 31


@dataclass
class _Budget:
    """The interval slots that may still be merged, of `total`."""

    total: int
    left: int

    def spend(self, a: Spans, b: Spans) -> None:
        rows = int(np.prod(np.broadcast_shapes(a.shape, b.shape)))
        self.left -= (a.runs + b.runs) * rows
        if self.left < 0:
            raise TooManySpans(
                f"reach may merge {self.total} interval slots, got a mask that needs more: the next step merges {rows} "
                f"rows of {a.runs + b.runs} runs; choose fewer positions or layers, or raise the budget"
            )


def reach(rows: Spans, step: Spans, layers: int, budget: int = REACH_BUDGET) -> Spans:
    """Return what each of `rows` reaches through `layers` layers.

    Args:
        rows: what each query sees in one layer, itself included: `(B, 1, Q)`.
        step: what each position `[0, kv_len)` sees in one layer, itself included: `(B, 1, kv_len)`.
        layers: number of layers, at least 1. `rows` is the first.
        budget: interval slots that may be merged; more raises `TooManySpans`.
    """
    spending = _Budget(budget, budget)
    # Exponentiation by squaring: `power` is 1, 2, 4, ... layers, and the binary digits of `left` choose among them.
    left, power = layers - 1, step
    while left:
        if left & 1:
            rows = _through(rows, power, spending)
        left >>= 1
        if left:
            doubled = _through(power, power, spending)
            if first_difference(power, doubled) is None:
                # A fixed point: further layers add nothing, but each row still has to pass through it once.
                return _through(rows, power, spending)
            power = doubled
    return rows


def _through(first: Spans, second: Spans, spending: _Budget) -> Spans:
    batch = max(first.shape[0], second.shape[0])
    return join_batch([_compose(first.plane(b), second.plane(b), spending) for b in range(batch)])


def _compose(first: Spans, second: Spans, spending: _Budget) -> Spans:
    """Return the rows of `first`, shape (1, 1, Q), through those of `second`, shape (1, 1, kv_len)."""
    starts, ends = first.planes_starts[:, 0, 0], first.planes_ends[:, 0, 0]
    unused = np.full((1, 1, 1, first.shape[2]), first.kv_len, dtype=np.int32)
    out = Spans(unused, unused, first.kv_len)
    used = starts < ends
    level = np.where(used, np.frexp(ends - starts)[1] - 1, -1)
    stretch = second  # row i: the union of the rows [i, i + 2**exponent) of `second`
    for exponent in range(int(level.max(initial=-1)) + 1):
        if exponent:
            half = 1 << (exponent - 1)
            head, tail = stretch.rows(0, stretch.shape[2] - half), stretch.rows(half, stretch.shape[2])
            spending.spend(head, tail)
            stretch = union(head, tail)
        for plane in range(len(starts)):
            rows = np.flatnonzero(level[plane] == exponent)
            if len(rows):
                # A run [s, e) of this level is [s, s + 2**exponent) and [e - 2**exponent, e), which overlap.
                reached = pick_rows(stretch, starts[plane, rows].astype(np.int64))
                if exponent:
                    other = pick_rows(stretch, ends[plane, rows].astype(np.int64) - (1 << exponent))
                    spending.spend(reached, other)
                    reached = union(reached, other)
                out = _add(out, reached, rows, spending)
    return out.trim()


def _add(out: Spans, reached: Spans, rows: Ints, spending: _Budget) -> Spans:
    """Return `out` with the rows of `reached` united into its rows of these indices."""
    old = pick_rows(out, rows)
    spending.spend(old, reached)
    new = union(old, reached)
    runs = max(out.runs, new.runs)
    starts = np.full((runs, *out.shape), out.kv_len, dtype=np.int32)
    ends = starts.copy()
    starts[: out.runs], ends[: out.runs] = out.planes_starts, out.planes_ends
    starts[..., rows], ends[..., rows] = out.kv_len, out.kv_len
    starts[: new.runs, ..., rows], ends[: new.runs, ..., rows] = new.planes_starts, new.planes_ends
    return Spans(starts, ends, out.kv_len)


def over_heads(spans: Spans) -> Spans:
    """Return the union over the heads, what any head sees: shape `(B, 1, Q)`."""
    heads = [
        Spans(spans.planes_starts[:, :, h : h + 1], spans.planes_ends[:, :, h : h + 1], spans.kv_len).trim()
        for h in range(spans.shape[1])
    ]
    # pairs first: operands of like size keep the planes small
    while len(heads) > 1:
        heads = [union(*heads[i : i + 2]) if len(heads[i : i + 2]) == 2 else heads[i] for i in range(0, len(heads), 2)]
    return heads[0]
