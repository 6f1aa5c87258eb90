"""`Spans`: for each query row, the disjoint, sorted, merged key intervals that it may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._shared.numbers import between, integer, side
from ..errors import GridError, TooManySpans

#: int32, the run first: `(R, B, H, Q)`, or a part of that.
Planes = npt.NDArray[np.int32]

#: Most interval slots (rows times runs a row) that one geometry may hold: 2 GiB of starts and ends.
MAX_SLOTS = 1 << 28


#: Up to so many runs a row, comparing every key with each is faster than writing edges and adding them up.
_FEW_RUNS = 4


@dataclass(frozen=True, eq=False)
class Spans:
    """Canonical row intervals, stored as planes: run `r` of every row is one contiguous array.

    Attributes:
        planes_starts: int32 `(R, B, H, Q)`; the first key of run `r` of row `(b, h, q)`.
        planes_ends: int32 `(R, B, H, Q)`; one past the last key of that run.
        kv_len: number of keys. Unused slots are `[kv_len, kv_len)` and come last.

    `B`, `H` and `Q` are 1 where nothing differs along them. The axis of runs comes first because every operation works
    on one run of all rows at a time, which then lies contiguous in memory. `Spans` are immutable, and canonical: two
    `Spans` are equal exactly when they allow the same cells.

    >>> import maskwork as mw
    >>> spans = mw.parse("causal & (sliding_window(2) | sinks(1))").bind(4).spans
    >>> spans.row(3)
    [(0, 1), (2, 4)]
    """

    # causal & (sliding_window(2) | sinks(1)) on 4 keys, one batch row, one head (`.` is an unused slot, here 4):
    #
    #        key 0 1 2 3     planes_starts        planes_ends
    #    query 0 █ · · ·        q0 q1 q2 q3          q0 q1 q2 q3
    #          1 █ █ · ·     r0  0  0  0  0       r0  1  2  3  1
    #          2 █ █ █ ·     r1  .  .  .  2       r1  .  .  .  4
    #          3 █ · █ █
    #
    # Column q of both planes is the list of runs of query q: query 3 sees [0, 1) and [2, 4).
    planes_starts: Planes
    planes_ends: Planes
    kv_len: int

    def __post_init__(self) -> None:
        self.planes_starts.setflags(write=False)
        self.planes_ends.setflags(write=False)

    @property
    def starts(self) -> Planes:
        """First keys of the runs, row by row: int32 `(B, H, Q, R)`, a view of the planes."""
        return np.moveaxis(self.planes_starts, 0, -1)

    @property
    def ends(self) -> Planes:
        """Ends of the runs, one past the last key: int32 `(B, H, Q, R)`, a view of the planes."""
        return np.moveaxis(self.planes_ends, 0, -1)

    @property
    def runs(self) -> int:
        """Interval slots per row, R: as many as the row with the most runs needs, and at least 1."""
        return self.planes_starts.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(B, H, Q)`."""
        _, batch, heads, rows = self.planes_starts.shape
        return batch, heads, rows

    @property
    def allowed(self) -> int:
        """Exact number of allowed cells over the shape of the planes."""
        # An unused slot is kv_len in both planes.
        one = self.one_row()
        total = int(one.planes_ends.sum(dtype=np.int64) - one.planes_starts.sum(dtype=np.int64))
        return total if one is self else total * self.shape[2]

    def row(self, q: int, b: int = 0, h: int = 0) -> list[tuple[int, int]]:
        """Return the runs of one row as `(start, end)` pairs; `q` is an index into the planes, not a position."""
        shape = self.shape
        b, h, q = (
            between(index, 0, length - 1, name, error=GridError)
            for index, length, name in zip((b, h, q), shape, "bhq", strict=True)
        )
        pairs = zip(self.planes_starts[:, b, h, q].tolist(), self.planes_ends[:, b, h, q].tolist(), strict=True)
        return [(start, end) for start, end in pairs if start < end]

    def sizes(self) -> npt.NDArray[np.int64]:
        """Return how many keys each row sees: int64 `(B, H, Q)`."""
        one = self.one_row()
        sizes = (one.planes_ends - one.planes_starts).sum(axis=0, dtype=np.int64)
        return sizes if one is self else np.broadcast_to(sizes, self.shape)

    def expand(self, shape: tuple[int, int, int]) -> Spans:
        """Return the same geometry with `(B, H, Q)` broadcast to `shape`, without a copy."""
        batch, heads, rows = (side(length, 0, "each of shape", error=GridError) for length in shape)
        if self.shape == (batch, heads, rows):
            return self
        full = (self.runs, batch, heads, rows)
        return Spans(np.broadcast_to(self.planes_starts, full), np.broadcast_to(self.planes_ends, full), self.kv_len)

    def one_row(self) -> Spans:
        """Return the geometry with one row where one row was broadcast to all, else itself.

        A mask that ignores the query may have as many runs as keys: what is counted of its one row need not be counted
        of a million copies.
        """
        if self.shape[2] <= 1 or self.planes_starts.strides[3] or self.planes_ends.strides[3]:
            return self
        return Spans(self.planes_starts[..., :1], self.planes_ends[..., :1], self.kv_len)

    def plane(self, b: int = 0, h: int = 0) -> Spans:
        """Return the geometry of one batch row and one head: shape `(1, 1, Q)`, without a copy.

        Where B (or H) is 1 the geometry is that of every batch row (or head), and any index is accepted.

        Raises:
            GridError: the geometry has no such batch row or head.

        >>> import maskwork as mw
        >>> spans = mw.per_head([mw.causal(), mw.sliding_window(2)]).bind(4).spans
        >>> spans.plane(h=1).row(3)
        [(2, 4)]
        """
        batch, heads, _ = self.shape
        b, h = integer(b, "b", error=GridError), integer(h, "h", error=GridError)
        b, h = b if batch > 1 else 0, h if heads > 1 else 0
        if not (0 <= b < batch and 0 <= h < heads):
            raise GridError(f"spans hold {batch} batch rows and {heads} heads, got batch row {b} and head {h}")
        lead = np.s_[:, b : b + 1, h : h + 1]
        return Spans(self.planes_starts[lead], self.planes_ends[lead], self.kv_len).trim()

    def batch_row(self, b: int) -> Spans:
        """Return the geometry of one batch row: shape `(1, H, Q)`, without a copy; any index where B is 1."""
        index = b if self.shape[0] > 1 else 0
        lead = np.s_[:, index : index + 1]
        return Spans(self.planes_starts[lead], self.planes_ends[lead], self.kv_len).trim()

    def trim(self) -> Spans:
        """Return the geometry without the slots that no row uses: the canonical form has none."""
        if self.runs == 1:
            return self
        first = self.one_row().planes_starts
        used = int((first < self.kv_len).reshape(self.runs, -1).any(axis=1).sum())
        if max(used, 1) == self.runs:
            return self
        return Spans(self.planes_starts[: max(used, 1)], self.planes_ends[: max(used, 1)], self.kv_len)

    def rows(self, i: int, j: int) -> Spans:
        """Return rows `[i, j)`, indices into the planes, without a copy."""
        i, j = (integer(edge, name, error=GridError) for edge, name in ((i, "i"), (j, "j")))
        return Spans(self.planes_starts[..., i:j], self.planes_ends[..., i:j], self.kv_len).trim()

    def dense(self) -> npt.NDArray[np.bool_]:
        """Return every cell: bool `(B, H, Q, K)`, True = may attend. This is the definition of `Spans`."""
        one = self.one_row()
        if one is not self:
            return np.repeat(one.dense(), self.shape[2], axis=2)
        if self.runs > _FEW_RUNS:
            return self._dense_from_edges()
        keys = np.arange(self.kv_len, dtype=np.int32)
        out = np.zeros((*self.shape, self.kv_len), dtype=np.bool_)
        for start, end in zip(self.planes_starts, self.planes_ends, strict=True):
            out |= (keys >= start[..., None]) & (keys < end[..., None])
        return out

    def _dense_from_edges(self) -> npt.NDArray[np.bool_]:
        """Return every cell from the edges of the runs, in time that follows runs + cells instead of runs x cells.

        A run adds 1 at its first key and -1 behind its last; the running sum along the keys is 1 inside of it. Runs
        of a row neither overlap nor touch, so that no edge falls on another and each is written, not added:

            runs [1, 3) [4, 5)     edges  0 +1  0 -1 +1 -1     sum  0 1 1 0 1 0
        """
        rows, width = int(np.prod(self.shape)), self.kv_len + 1
        # One column more, where unused slots and runs up to the last key write.
        out = np.zeros(rows * width, dtype=np.int8)
        first = np.arange(rows, dtype=np.intp)[:, None] * width
        for planes, step in ((self.planes_starts, 1), (self.planes_ends, -1)):
            # row by row, so that the writes follow one another in memory
            edges = np.moveaxis(planes, 0, -1).reshape(rows, self.runs)
            out[(first + edges).ravel()] = step
        cells = out.reshape(*self.shape, width)
        return np.cumsum(cells[..., :-1], axis=-1, dtype=np.int8).view(np.bool_)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spans):
            return NotImplemented
        if self.kv_len != other.kv_len or self.runs != other.runs:
            return False
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = self.expand(shape), other.expand(shape)  # type: ignore[arg-type]  # NumPy types a shape as tuple[int, ...]
        return bool(np.array_equal(a.planes_starts, b.planes_starts) and np.array_equal(a.planes_ends, b.planes_ends))

    def __reduce__(self) -> tuple[type[Spans], tuple[Planes, Planes, int]]:
        # __init__ runs again, so that the copy is read-only too
        return Spans, (self.planes_starts, self.planes_ends, self.kv_len)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        batch, heads, rows = self.shape
        return f"Spans(B={batch}, H={heads}, Q={rows}, R={self.runs}, kv_len={self.kv_len})"


def single(start: npt.ArrayLike, end: npt.ArrayLike, kv_len: int) -> Spans:
    """Build the geometry of one run per row from `start` and `end`, which broadcast to `(B, H, Q)`.

    Both are clipped to `[0, kv_len]`; a run with `start >= end` is empty.

    >>> single([[[0, 1, 9]]], [[[1, 3, 12]]], 4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    # NumPy's own clip is slower on small arrays
    low, high = (np.minimum(np.maximum(edge, 0), kv_len).astype(np.int32) for edge in (start, end))
    s, e = np.broadcast_arrays(np.atleast_3d(low), np.atleast_3d(high))
    empty = s >= e
    if empty.any():
        s, e = np.where(empty, np.int32(kv_len), s), np.where(empty, np.int32(kv_len), e)
    return Spans(s[None], e[None], kv_len)


def check_budget(runs: int, rows: int) -> None:
    """Raise `TooManySpans` if `runs` slots for each of `rows` rows exceed `MAX_SLOTS`: before memory is allocated."""
    if runs * rows > MAX_SLOTS:
        raise TooManySpans(
            f"a geometry may hold {MAX_SLOTS} interval slots, got {runs} runs a row x {rows} rows = {runs * rows}; "
            "ask for fewer rows at a time with .rows(q0, q1), or use a mask with fewer runs"
        )


def join_batch(parts: Sequence[Spans]) -> Spans:
    """Stack geometries along the batch: each part holds one batch row."""
    if len(parts) == 1:
        return parts[0]
    kv_len, runs = parts[0].kv_len, max(part.runs for part in parts)
    out = np.full((2, runs, len(parts), *parts[0].shape[1:]), kv_len, dtype=np.int32)
    for b, part in enumerate(parts):
        out[0, : part.runs, b : b + 1], out[1, : part.runs, b : b + 1] = part.planes_starts, part.planes_ends
    return Spans(out[0], out[1], kv_len)


def join_rows(parts: Sequence[Spans], rows: Sequence[int]) -> Spans:
    """Concatenate geometries along the queries: part `i` covers `rows[i]` rows, with one row or with a row for each."""
    kv_len, runs = parts[0].kv_len, max(part.runs for part in parts)
    lead = np.broadcast_shapes(*(part.shape[:2] for part in parts))
    out = np.full((2, runs, *lead, sum(rows)), kv_len, dtype=np.int32)
    first = 0
    for part, number in zip(parts, rows, strict=True):
        out[0, : part.runs, ..., first : first + number] = part.planes_starts
        out[1, : part.runs, ..., first : first + number] = part.planes_ends
        first += number
    return Spans(out[0], out[1], kv_len)
