"""`Spans`: for each query row, the disjoint, sorted, merged key intervals that it may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import TooManySpans

Planes = npt.NDArray[np.int32]

#: Most interval slots (rows times runs a row) that one geometry may hold: 2 GiB of starts and ends.
MAX_SLOTS = 1 << 28


@dataclass(frozen=True, eq=False)
class Spans:
    """Canonical row intervals, stored as planes: run `r` of every row is one contiguous array.

    Args:
        planes_starts: int32 `(R, B, H, Q)`; the first key of run `r` of row `(b, h, q)`.
        planes_ends: int32 `(R, B, H, Q)`; one past its last key.
        kv_len: number of keys. Unused slots are `[kv_len, kv_len)` and come last.

    `B`, `H` and `Q` are 1 where nothing differs along them. Planes come first because every operation works on
    one run of all rows at a time, which then lies contiguous in memory. `Spans` are immutable, and canonical: two
    of them are equal exactly when they allow the same cells.

    >>> import maskwork as mw
    >>> spans = mw.parse("causal & (sliding_window(2) | sinks(1))").bind(4).spans
    >>> spans.row(3)
    [(0, 1), (2, 4)]
    """

    planes_starts: Planes
    planes_ends: Planes
    kv_len: int

    def __post_init__(self) -> None:
        self.planes_starts.setflags(write=False)
        self.planes_ends.setflags(write=False)

    @property
    def starts(self) -> Planes:
        """int32 `(B, H, Q, R)`: the planes seen row by row, without a copy."""
        return np.moveaxis(self.planes_starts, 0, -1)

    @property
    def ends(self) -> Planes:
        """int32 `(B, H, Q, R)`: one past the last key of each run."""
        return np.moveaxis(self.planes_ends, 0, -1)

    @property
    def runs(self) -> int:
        """R: interval slots a row, the most that any row needs (at least 1)."""
        return self.planes_starts.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, H, Q)."""
        _, batch, heads, rows = self.planes_starts.shape
        return batch, heads, rows

    def row(self, q: int, b: int = 0, h: int = 0) -> list[tuple[int, int]]:
        """The intervals of one row, by its index in the planes, as `(start, end)` pairs."""
        pairs = zip(self.planes_starts[:, b, h, q].tolist(), self.planes_ends[:, b, h, q].tolist(), strict=True)
        return [(start, end) for start, end in pairs if start < end]

    def sizes(self) -> npt.NDArray[np.int64]:
        """int64 `(B, H, Q)`: how many keys each row sees."""
        return (self.planes_ends - self.planes_starts).sum(axis=0, dtype=np.int64)

    def expand(self, shape: tuple[int, int, int]) -> Spans:
        """The same geometry with `(B, H, Q)` broadcast to `shape`."""
        if self.shape == shape:
            return self
        full = (self.runs, *shape)
        return Spans(np.broadcast_to(self.planes_starts, full), np.broadcast_to(self.planes_ends, full), self.kv_len)

    def trim(self) -> Spans:
        """Without the slots that no row uses, as the canonical form wants it."""
        used = int((self.planes_starts < self.kv_len).reshape(self.runs, -1).any(axis=1).sum())
        if max(used, 1) == self.runs:
            return self
        return Spans(self.planes_starts[: max(used, 1)], self.planes_ends[: max(used, 1)], self.kv_len)

    def rows(self, i: int, j: int) -> Spans:
        """Rows `[i, j)` by their index in the planes, without a copy."""
        return Spans(self.planes_starts[..., i:j], self.planes_ends[..., i:j], self.kv_len).trim()

    def dense(self) -> npt.NDArray[np.bool_]:
        """bool `(B, H, Q, K)`: the definition, painted cell by cell."""
        keys = np.arange(self.kv_len, dtype=np.int32)
        out = np.zeros((*self.shape, self.kv_len), dtype=np.bool_)
        for start, end in zip(self.planes_starts, self.planes_ends, strict=True):
            out |= (keys >= start[..., None]) & (keys < end[..., None])
        return out

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spans):
            return NotImplemented
        if self.kv_len != other.kv_len or self.runs != other.runs:
            return False
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = self.expand(shape), other.expand(shape)  # type: ignore[arg-type]
        return bool(np.array_equal(a.planes_starts, b.planes_starts) and np.array_equal(a.planes_ends, b.planes_ends))

    def __reduce__(self) -> tuple[type[Spans], tuple[Planes, Planes, int]]:
        return Spans, (self.planes_starts, self.planes_ends, self.kv_len)  # made anew, so read-only again

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        batch, heads, rows = self.shape
        return f"Spans(B={batch}, H={heads}, Q={rows}, R={self.runs}, kv_len={self.kv_len})"


def single(start: npt.ArrayLike, end: npt.ArrayLike, kv_len: int) -> Spans:
    """One run a row. `start` and `end` broadcast to `(B, H, Q)`; they are clipped to the keys, empty runs normalised.

    >>> single([[[0, 1, 9]]], [[[1, 3, 12]]], 4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    low, high = (np.minimum(np.maximum(edge, 0), kv_len).astype(np.int32) for edge in (start, end))
    s, e = np.broadcast_arrays(np.atleast_3d(low), np.atleast_3d(high))
    empty = s >= e
    if empty.any():
        s, e = np.where(empty, np.int32(kv_len), s), np.where(empty, np.int32(kv_len), e)
    return Spans(s[None], e[None], kv_len)


def check_budget(runs: int, rows: int) -> None:
    """Raise `TooManySpans` before memory is taken, not after."""
    if runs * rows > MAX_SLOTS:
        raise TooManySpans(
            f"a geometry may hold {MAX_SLOTS} interval slots, this mask needs {runs} runs a row x {rows} rows = "
            f"{runs * rows}; ask for fewer rows at a time with .rows(q0, q1), or use a mask with fewer runs"
        )


def join_batch(parts: Sequence[Spans]) -> Spans:
    """Batch rows laid one on the other: each part holds one."""
    if len(parts) == 1:
        return parts[0]
    kv_len, runs = parts[0].kv_len, max(part.runs for part in parts)
    out = np.full((2, runs, len(parts), *parts[0].shape[1:]), kv_len, dtype=np.int32)
    for b, part in enumerate(parts):
        out[0, : part.runs, b : b + 1], out[1, : part.runs, b : b + 1] = part.planes_starts, part.planes_ends
    return Spans(out[0], out[1], kv_len)


def join_rows(parts: Sequence[Spans], rows: Sequence[int]) -> Spans:
    """Neighbouring rows laid end to end: part `i` holds `rows[i]` of them, or one that stands for all."""
    kv_len, runs = parts[0].kv_len, max(part.runs for part in parts)
    lead = np.broadcast_shapes(*(part.shape[:2] for part in parts))
    out = np.full((2, runs, *lead, sum(rows)), kv_len, dtype=np.int32)
    at = 0
    for part, number in zip(parts, rows, strict=True):
        out[0, : part.runs, ..., at : at + number] = part.planes_starts
        out[1, : part.runs, ..., at : at + number] = part.planes_ends
        at += number
    return Spans(out[0], out[1], kv_len)
