"""Per key, the last row that sees the key: a maximum over painted intervals, in time that follows how much rows change.

Paint the number of each row over its intervals and keep the largest number per key: a sparse table, read backwards. An
interval is the union of two overlapping stretches of 2**level keys, so painting marks the first key of each stretch on
that level. Afterwards every level, from the top down, passes its marks to the two halves of each stretch.

Few intervals need painting. Keys that the next row sees in the same slot are painted by that row anyway: a sliding
window leaves one key per row, and a causal mask only the last row. Where rows have little in common, the later rows
soon see every key that the earlier rows see, and the earlier rows are skipped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._runs import Ints
from ._spans import Planes, Spans

# Row 5 sees [2, 8), 6 keys: two stretches of 4 keys (level 2) cover the run. A mark stands at the first key of each:
#
#    key        0 1 2 3 4 5 6 7
#    level 2        5   5             stretches [2, 6) and [4, 8)
#    level 1        5   5   5         each mark goes to the halves of its stretch: keys k and k + 2
#    level 0        5 5 5 5 5 5       and to their halves, k and k + 1; the larger row number wins everywhere

# Rows that are painted in one call: their planes stay in the second-level cache.
_CHUNK = 1 << 15

# Intervals shorter than 2**4 keys, which regular masks leave, hardly overlap: counting the keys they hold costs more
# than it saves.
_SHORT = 4


def last_seen(spans: Spans) -> npt.NDArray[np.int64]:
    """Return the index of the last row that sees each key, -1 where no row does: int64 `(B, H, K)`."""
    one = spans.one_row()
    if one is not spans:  # the last row sees what each row sees
        return np.where(one.dense()[:, :, 0], spans.shape[2] - 1, -1).astype(np.int64)
    batch, heads, _ = spans.shape
    out = np.empty((batch, heads, spans.kv_len), dtype=np.int64)
    for b in range(batch):
        for h in range(heads):
            out[b, h] = _paint(spans.planes_starts[:, b, h], spans.planes_ends[:, b, h], spans.kv_len)
    return out


class _Level:
    """The marks of one power of two: a list while there are few, an array over all keys once there are many."""

    def __init__(self, kv_len: int) -> None:
        self.kv_len = kv_len
        self.keys: list[Ints] = []
        self.values: list[Planes] = []
        self.pending = 0  # number of marks in the lists
        self.plane: Planes | None = None  # (kv_len,): the largest row number marked at each key, -1 = no mark

    def add(self, keys: Ints, values: Planes) -> None:
        if self.plane is not None:
            np.maximum.at(self.plane, keys, values)
            return
        self.keys.append(keys)
        self.values.append(values)
        self.pending += len(keys)
        if self.pending > self.kv_len // 16:
            self.spread()

    def spread(self) -> Planes:
        """Write the pending marks to the array over all keys, and return that array."""
        if self.plane is None:
            self.plane = np.full(self.kv_len, -1, dtype=np.int32)
        for keys, values in zip(self.keys, self.values, strict=True):
            np.maximum.at(self.plane, keys, values)
        self.keys, self.values, self.pending = [], [], 0
        return self.plane


class _Later:
    """The keys that painted rows see. Rows are painted last to first: an earlier row does not change those keys."""

    def __init__(self, kv_len: int) -> None:
        self.kv_len = kv_len
        self.runs: list[tuple[Planes, Planes]] | None = []  # None once counting did not pay
        self.number = 0  # runs added since the last count
        self.free_below: Planes | None = None  # (kv_len + 1,): unseen keys below each key; None before the first count

    def add(self, starts: Planes, ends: Planes) -> None:
        if self.runs is not None:
            self.runs.append((starts, ends))
            self.number += len(starts)

    def count(self) -> None:
        """Update `free_below` from the added runs, where there are enough of them. Call this after a full chunk."""
        if self.runs is None or self.number <= self.kv_len // 8:  # a count costs about as much as that many marks
            return
        if self.free_below is not None:  # many runs again despite the first count: rows see different keys
            self.runs = self.free_below = None
            return
        size = self.kv_len + 1
        low, high = (np.concatenate(side) for side in zip(*self.runs, strict=True))
        free = (np.bincount(low, minlength=size) - np.bincount(high, minlength=size)).cumsum() == 0
        self.free_below = free.cumsum(dtype=np.int32) - free
        self.runs, self.number = [], 0


def _paint(starts: Planes, ends: Planes, kv_len: int) -> Planes:
    """Return the last row that sees each key, int32 `(kv_len,)`, from planes `(R, Q)` of one batch row and head."""
    levels: dict[int, _Level] = {}
    later = _Later(kv_len)
    for i in reversed(range(0, starts.shape[1], _CHUNK)):
        for plane in range(len(starts)):
            _mark(levels, later, i, starts[plane, i : i + _CHUNK + 1], ends[plane, i : i + _CHUNK + 1])
        later.count()
    above = _Level(kv_len)
    for level in range(max(levels, default=0), -1, -1):
        marks = levels.pop(level, None) or _Level(kv_len)
        half = 1 << level  # half the length of a stretch of the level above
        if above.keys:
            keys, values = np.concatenate(above.keys), np.concatenate(above.values)
            marks.add(np.concatenate([keys, keys + half]), np.concatenate([values, values]))
        if above.plane is not None:
            plane = marks.spread()
            np.maximum(plane, above.plane, out=plane)
            np.maximum(plane[half:], above.plane[:-half], out=plane[half:])
        above = marks
    return above.spread()


def _mark(levels: dict[int, _Level], later: _Later, first_row: int, starts: Planes, ends: Planes) -> None:
    """Mark one slot of up to a chunk of rows; the row after the chunk is only compared with the last one."""
    kv_len = later.kv_len
    if len(starts) <= _CHUNK:  # the last chunk: an empty row follows
        unused = np.full(1, kv_len, dtype=np.int32)
        starts, ends = np.append(starts, unused), np.append(ends, unused)
    s, e, next_s, next_e = starts[:-1], ends[:-1], starts[1:], ends[1:]
    candidates: Ints | None = None
    if later.free_below is not None:
        # Skip the runs whose keys later rows see: no unseen key lies in [s, e).
        candidates = np.flatnonzero(later.free_below[e] > later.free_below[s])
        s, e, next_s, next_e = s[candidates], e[candidates], next_s[candidates], next_e[candidates]
    # Only keys that the next row does not see need marking: the part left of its run, right of it, or both (then the
    # full run is marked, since the next row overwrites the middle).
    #
    #    this row          s─────────────e
    #    next row               ns────────────ne
    #    left of it        ├────┤
    left = s < np.minimum(e, next_s)
    right = np.maximum(s, next_e) < e
    row = np.flatnonzero(left | right)
    low = np.where(left, s, np.maximum(s, next_e))[row]
    high = np.where(right, e, np.minimum(e, next_s))[row]
    value = ((row if candidates is None else candidates[row]) + first_row).astype(np.int32)
    # level: the largest power of two that is at most the length
    level = (np.frexp(high - low)[1] - 1).astype(np.int8)
    counts = np.bincount(level)
    if np.count_nonzero(counts) > 1:
        order = np.argsort(level, kind="stable")  # bytes are sorted by counting
        low, high, value = low[order], high[order], value[order]
    long = int(counts[:_SHORT].sum())
    if long < len(low):
        later.add(low[long:], high[long:])
    last = counts.cumsum()
    for number in np.flatnonzero(counts).tolist():
        marks = levels.setdefault(number, _Level(kv_len))
        part = slice(int(last[number] - counts[number]), int(last[number]))
        marks.add(low[part].astype(np.int64), value[part])
        if number:  # the second stretch ends where the interval ends
            marks.add(high[part].astype(np.int64) - (1 << number), value[part])
