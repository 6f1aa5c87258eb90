"""Composition of geometries: what a row reaches through another, as runs, by doubling stretches of rows.

Row i of `first` then `then` is the union of the rows of `then` over the keys that row i of `first` sees. Over a run
[s, e) of keys that union is that of two stretches whose length is a power of two, as in a sparse table. The stretches
of each length are made from those of half that length, with the algebra's union, and only one length is held at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import TooManySpans
from ._algebra import union
from ._compare import first_difference
from ._select import pick_rows
from ._spans import Spans, join_batch

#: Interval slots that one question of reach may merge; about a minute of work.
REACH_BUDGET = 1 << 31


@dataclass
class _Budget:
    left: int
    total: int

    def spend(self, a: Spans, b: Spans) -> None:
        rows = int(np.prod(np.broadcast_shapes(a.shape, b.shape)))
        self.left -= (a.runs + b.runs) * rows
        if self.left < 0:
            raise TooManySpans(
                f"reach may merge {self.total} interval slots, and this mask through these layers needs more "
                f"({rows} rows, now {a.runs + b.runs} runs each); ask about fewer positions, fewer layers, "
                "or raise the budget"
            )


def reach(rows: Spans, among: Spans, layers: int, budget: int = REACH_BUDGET) -> Spans:
    """What each of `rows` reaches through `layers` layers.

    Args:
        rows: the first step from the positions that are asked about.
        among: one step between all positions `[0, kv_len)`, itself included: `(B, 1, kv_len)`.
        layers: number of steps, at least 1. `rows` is the first.
        budget: interval slots that may be merged; more raises `TooManySpans`.
    """
    purse = _Budget(budget, budget)
    left, power = layers - 1, among
    while left:
        if left & 1:
            rows = _through(rows, power, purse)
        left >>= 1
        if left:
            doubled = _through(power, power, purse)
            if first_difference(power, doubled) is None:
                # Closed: more layers bring nothing, but each row still has to pass once.
                return _through(rows, power, purse)
            power = doubled
    return rows


def _through(first: Spans, then: Spans, purse: _Budget) -> Spans:
    batch = max(first.shape[0], then.shape[0])
    return join_batch([_compose(_batch_row(first, b), _batch_row(then, b), purse) for b in range(batch)])


def _batch_row(spans: Spans, b: int) -> Spans:
    b = min(b, spans.shape[0] - 1)
    return Spans(spans.planes_starts[:, b : b + 1], spans.planes_ends[:, b : b + 1], spans.kv_len).trim()


def _compose(first: Spans, then: Spans, purse: _Budget) -> Spans:
    """int32 planes of shape (R, 1, 1, Q) through those of shape (R', 1, 1, kv_len)."""
    starts, ends = first.planes_starts[:, 0, 0], first.planes_ends[:, 0, 0]
    nothing = np.full((1, 1, 1, first.shape[2]), first.kv_len, dtype=np.int32)
    out = Spans(nothing, nothing, first.kv_len)
    used = starts < ends
    level = np.where(used, np.frexp(ends - starts)[1] - 1, -1)
    stretch = then  # row i: the union of the rows [i, i + 2**here) of `then`
    for here in range(int(level.max(initial=-1)) + 1):
        if here:
            half = 1 << (here - 1)
            head, tail = stretch.rows(0, stretch.shape[2] - half), stretch.rows(half, stretch.shape[2])
            purse.spend(head, tail)
            stretch = union(head, tail)
        for plane in range(len(starts)):
            rows = np.flatnonzero(level[plane] == here)
            if len(rows):
                found = pick_rows(stretch, starts[plane, rows].astype(np.int64))
                if here:
                    other = pick_rows(stretch, ends[plane, rows].astype(np.int64) - (1 << here))
                    purse.spend(found, other)
                    found = union(found, other)
                out = _add(out, found, rows, purse)
    return out.trim()


def _add(out: Spans, found: Spans, rows: npt.NDArray[np.int64], purse: _Budget) -> Spans:
    """`out` with `found` united into some of its rows."""
    old = pick_rows(out, rows)
    purse.spend(old, found)
    new = union(old, found)
    runs = max(out.runs, new.runs)
    starts = np.full((runs, *out.shape), out.kv_len, dtype=np.int32)
    ends = starts.copy()
    starts[: out.runs], ends[: out.runs] = out.planes_starts, out.planes_ends
    starts[..., rows], ends[..., rows] = out.kv_len, out.kv_len
    starts[: new.runs, ..., rows], ends[: new.runs, ..., rows] = new.planes_starts, new.planes_ends
    return Spans(starts, ends, out.kv_len)


def over_heads(spans: Spans) -> Spans:
    """What any head sees: `(B, 1, Q)`."""
    heads = [
        Spans(spans.planes_starts[:, :, h : h + 1], spans.planes_ends[:, :, h : h + 1], spans.kv_len).trim()
        for h in range(spans.shape[1])
    ]
    while len(heads) > 1:
        heads = [union(*heads[i : i + 2]) if len(heads[i : i + 2]) == 2 else heads[i] for i in range(0, len(heads), 2)]
    return heads[0]
