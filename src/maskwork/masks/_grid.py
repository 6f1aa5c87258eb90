"""`Grid`: where a mask is evaluated; and `evaluate`: the spans of a mask on a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import spans as sp
from ..errors import GridError
from ..spans import Ints, Spans
from ._arrays import LARGEST, as_int, as_ints
from ._extent import Extent

if TYPE_CHECKING:
    from ._mask import Mask, Queries

# Rows of one chunk: the planes of a typical expression fit the second-level cache.
_CHUNK = 1 << 15

#: The smallest value of each size of a grid.
_SMALLEST = {"q_len": 0, "kv_len": 0, "batch": 1, "heads": 1}

#: Where queries start: one position for all batch rows, or one for each.
QStart = int | tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Queries at absolute positions `[q_start, q_start + q_len)` against keys `[0, kv_len)`.

    Attributes:
        q_start: absolute position of the first query; a tuple has one for each batch row, not all equal. Below 0, the
            first queries stand before the first key.
        q_len: number of queries.
        kv_len: number of keys.
        batch: batch rows.
        heads: query heads.
        start_given: False where nobody said where the queries stand, and the mask did not need to know: a bias that
            depends on positions then refuses.
    """

    q_start: QStart
    q_len: int
    kv_len: int
    batch: int = 1
    heads: int = 1
    start_given: bool = True

    def __post_init__(self) -> None:
        for name, minimum in _SMALLEST.items():
            value = getattr(self, name)
            if type(value) is not int or value < minimum:  # frozen: only what is no int of Python is stored anew
                object.__setattr__(self, name, as_int(value, name, minimum=minimum))
        if type(self.q_start) is not int:
            start = as_q_start(self.q_start)
            if isinstance(start, tuple) and len(start) != self.batch:
                raise GridError(
                    f"q_start takes an int, or one for each of the {self.batch} batch rows, got {len(start)}; pass as "
                    "many as batch rows"
                )
            object.__setattr__(self, "q_start", start)

    @property
    def starts(self) -> Ints:
        """The position of each batch row's first query: int64 `(B,)`, or `(1,)` where all rows start alike."""
        return np.array(self.q_start if isinstance(self.q_start, tuple) else [self.q_start], dtype=np.int64)

    @property
    def q_first(self) -> int:
        """The smallest query position of any batch row."""
        return min(self.q_start) if isinstance(self.q_start, tuple) else self.q_start

    @property
    def q_end(self) -> int:
        """One past the last query position of any batch row."""
        return (max(self.q_start) if isinstance(self.q_start, tuple) else self.q_start) + self.q_len

    def start_of(self, b: int) -> int:
        """Return the position of the first query of batch row `b`."""
        return self.q_start[b] if isinstance(self.q_start, tuple) else self.q_start

    def of_row(self, b: int) -> Grid:
        """Return this grid with the start of batch row `b` for all rows."""
        return replace(self, q_start=self.start_of(b))

    def queries(self, i: int = 0, j: int | None = None) -> Queries:
        """Return the absolute query positions, or those of rows `[i, j)` that exist: int64 `(B, 1, Q)`.

        B is 1 where all batch rows start alike.
        """
        i = as_int(i, "i", minimum=0)
        end = self.q_len if j is None else min(as_int(j, "j", minimum=0), self.q_len)
        return self.starts.reshape(-1, 1, 1) + np.arange(i, end, dtype=np.int64)

    def check_plane(self, b: int, h: int) -> tuple[int, int]:
        """Validate batch row `b` and head `h`, and return both as `int`.

        Raises:
            GridError: the grid has no such batch row or head.
        """
        b, h = as_int(b, "b", minimum=0), as_int(h, "h", minimum=0)
        if b >= self.batch or h >= self.heads:
            raise GridError(
                f"the grid has {self.batch} batch rows and {self.heads} heads, got batch row {b} and head {h}; bind "
                "with batch= and heads=, or choose smaller indices"
            )
        return b, h

    @staticmethod
    def build(
        mask: Mask,
        q_len: int,
        kv_len: int | None,
        *,
        q_start: Any,
        batch: int | None,
        heads: int | None,
    ) -> tuple[Mask, Grid]:
        """Build the grid of `Mask.bind`, and check that the mask's parameters cover it.

        Returns:
            the mask, for as many batch rows and heads as the grid has, and the grid.

        Raises:
            GridError: `q_start` is missing and would have to be guessed, positions are too large, or batch, heads or
                an array parameter do not match the mask.
        """
        q_len = as_int(q_len, "q_len", minimum=0)
        start: QStart = 0
        rows = 1
        if q_start is not None:
            start, rows = as_q_start(q_start), _rows_of(q_start)
        last = (max(start) if isinstance(start, tuple) else start) + q_len
        # Without kv_len, the last query is the last key.
        kv_len = max(last, 0) if kv_len is None else as_int(kv_len, "kv_len", minimum=0)
        if q_start is None and q_len != kv_len and mask.depends_on_query:
            raise missing_q_start(q_len, kv_len)
        # Spans are int32, and kv_len itself must fit too.
        if max(kv_len, last, q_len) >= 2**31 or (min(start) if isinstance(start, tuple) else start) < -(2**31):
            first = min(start) if isinstance(start, tuple) else start
            reached = f"from {first}" if first < -(2**31) else f"up to {last} and {kv_len} keys"
            raise GridError(
                f"positions must be below 2**31 in size, got queries {reached}; cut the sequence into shards"
            )
        said = batch if batch is not None else max(mask.batch, rows) if max(mask.batch, rows) > 1 else None
        mask = mask._resolve(said, heads if heads is not None else mask.heads if mask.heads > 1 else None)
        # A mask of one batch row, or one head, is the same for all; so is one position for all rows.
        batch = max(mask.batch, rows) if batch is None else as_int(batch, "batch", minimum=1)
        if rows not in (1, batch):
            raise GridError(
                f"q_start takes an int, or one for each of the {batch} batch rows, got {rows}; pass as many as batch "
                "rows"
            )
        if mask.batch not in (1, batch):
            raise GridError(
                f"the batch must match the mask's, {mask!r} has {mask.batch} rows, got {batch} for the grid; "
                "pass parameters with one entry per batch row"
            )
        heads = mask.heads if heads is None else as_int(heads, "heads", minimum=1)
        if mask.heads not in (1, heads):
            raise GridError(
                f"the heads must match the mask's, {mask!r} has {mask.heads} heads, got {heads} for the grid; "
                "pass parameters with one entry per query head"
            )
        grid = Grid(start, q_len, kv_len, batch, heads, start_given=q_start is not None or q_len == kv_len)
        # A mask that ignores the query has parameters for keys only: query positions need no cover.
        queries = max(grid.q_end, 0) if mask.depends_on_query else kv_len
        # without q_start, q_len == kv_len is the full sequence, and arrays must match its length exactly
        mask._check(Extent(queries, kv_len, full_length=q_start is None and q_len == kv_len))
        return mask, grid


def as_q_start(value: Any) -> QStart:
    """Return a start as an int, or as a tuple with one int for each batch row where they differ."""
    if not isinstance(value, (list, tuple)) and not getattr(value, "ndim", 0):
        return as_int(value, "q_start", minimum=-LARGEST)
    starts = as_ints(value, "q_start", ndims=(1,), minimum=None, hint="pass one int for each batch row").tolist()
    if not starts:
        raise GridError("q_start takes an int, or one for each batch row, got none; pass an int for all rows")
    return starts[0] if len(set(starts)) == 1 else tuple(starts)


def _rows_of(q_start: Any) -> int:
    """Return how many batch rows a start was given for, 1 for an int."""
    one_for_each = type(q_start) in (list, tuple) or getattr(q_start, "ndim", 0)
    return len(q_start) if one_for_each else 1


def evaluate(mask: Mask, grid: Grid) -> Spans:
    """Return the spans of every query. A mask that ignores the query gets one row, broadcast by the caller."""
    if not mask.depends_on_query:
        return mask._spans(grid.queries(0, min(grid.q_len, 1))[:1], grid.kv_len)
    sp.check_budget(1, grid.q_len)
    # The work of a function has a budget over all rows of a call.
    if grid.q_len <= _CHUNK or mask.calls_function:
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


def missing_q_start(q_len: int, kv_len: int, because: str = "") -> GridError:
    """Build the error for a missing `q_start`, with the usual two answers; `because` names the caller's reason."""
    return GridError(
        f"q_start must be given when q_len != kv_len{because}, got q_len={q_len} and kv_len={kv_len}; pass q_start=0 "
        f"if the queries are the first positions, or q_start={kv_len - q_len} (kv_len - q_len) if the last"
    )
