"""Per key, the last row that sees it: the maximum of painted intervals, in time that follows how much rows change.

Painting the row number over each interval and keeping the largest is what a sparse table answers, read backwards: an
interval is two overlapping powers of two, marked on their level; then each level hands its marks down to its halves.
Few intervals need painting: what the next row sees again in the same slot, that row paints later anyway. Of a sliding
window one key a row is left, and of a causal mask the last row alone. Where rows have little in common, the last of
them soon see every key that the others see: those are left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._spans import Planes, Spans

Ints = npt.NDArray[np.int64]

_CHUNK = 1 << 15

# Intervals of less than 2**4 keys, which regular masks leave behind, hardly overlap: no counting what they hold.
_SHORT = 4


def last_seen(spans: Spans) -> npt.NDArray[np.int64]:
    """int64 `(B, H, K)`: the index of the last row that holds each key, -1 where none does."""
    batch, heads, _ = spans.shape
    out = np.empty((batch, heads, spans.kv_len), dtype=np.int64)
    for b in range(batch):
        for h in range(heads):
            out[b, h] = _paint(spans.planes_starts[:, b, h], spans.planes_ends[:, b, h], spans.kv_len)
    return out


class _Level:
    """The marks of one power of two: a list while they are few, a plane of all keys once they are many."""

    def __init__(self, kv_len: int) -> None:
        self.kv_len = kv_len
        self.keys: list[Ints] = []
        self.values: list[Planes] = []
        self.waiting = 0
        self.plane: Planes | None = None

    def add(self, keys: Ints, values: Planes) -> None:
        if self.plane is not None:
            np.maximum.at(self.plane, keys, values)
            return
        self.keys.append(keys)
        self.values.append(values)
        self.waiting += len(keys)
        if self.waiting > self.kv_len // 16:
            self.spread()

    def spread(self) -> Planes:
        """The plane, made now if there is none yet."""
        if self.plane is None:
            self.plane = np.full(self.kv_len, -1, dtype=np.int32)
        for keys, values in zip(self.keys, self.values, strict=True):
            np.maximum.at(self.plane, keys, values)
        self.keys, self.values, self.waiting = [], [], 0
        return self.plane


class _Later:
    """The keys that the rows seen so far hold, from the last one up: an earlier row has no say in those."""

    def __init__(self, kv_len: int) -> None:
        self.kv_len = kv_len
        self.runs: list[tuple[Planes, Planes]] | None = []  # None once counting did not pay
        self.number = 0
        self.others: Planes | None = None  # per key, how many below it no row holds yet; None while nobody counted

    def add(self, starts: Planes, ends: Planes) -> None:
        if self.runs is not None:
            self.runs.append((starts, ends))
            self.number += len(starts)

    def count(self) -> None:
        """Take note of what was added, once all slots of its rows were."""
        if self.runs is None or self.number <= self.kv_len // 8:  # to count costs about as much as to mark so many
            return
        if self.others is not None:  # so many again in spite of it: here each row has keys of its own
            self.runs = self.others = None
            return
        size = self.kv_len + 1
        low, high = (np.concatenate(side) for side in zip(*self.runs, strict=True))
        free = (np.bincount(low, minlength=size) - np.bincount(high, minlength=size)).cumsum() == 0
        self.others = free.cumsum(dtype=np.int32) - free
        self.runs, self.number = [], 0


def _paint(starts: Planes, ends: Planes, kv_len: int) -> Planes:
    levels: dict[int, _Level] = {}
    later = _Later(kv_len)
    for i in reversed(range(0, starts.shape[1], _CHUNK)):
        for plane in range(len(starts)):
            _mark(levels, later, i, starts[plane, i : i + _CHUNK + 1], ends[plane, i : i + _CHUNK + 1])
        later.count()
    above = _Level(kv_len)
    for level in range(max(levels, default=0), -1, -1):
        here = levels.pop(level, None) or _Level(kv_len)
        half = 1 << level  # of the level above
        if above.keys:
            keys, values = np.concatenate(above.keys), np.concatenate(above.values)
            here.add(np.concatenate([keys, keys + half]), np.concatenate([values, values]))
        if above.plane is not None:
            plane = here.spread()
            np.maximum(plane, above.plane, out=plane)
            np.maximum(plane[half:], above.plane[:-half], out=plane[half:])
        above = here
    return above.spread()


def _mark(levels: dict[int, _Level], later: _Later, first_row: int, starts: Planes, ends: Planes) -> None:
    """Mark one slot of up to a chunk of rows; the row after the chunk is there only to be compared with."""
    kv_len = later.kv_len
    if len(starts) <= _CHUNK:  # the end of the rows: nothing comes after
        nothing = np.full(1, kv_len, dtype=np.int32)
        starts, ends = np.append(starts, nothing), np.append(ends, nothing)
    s, e, next_s, next_e = starts[:-1], ends[:-1], starts[1:], ends[1:]
    kept: Ints | None = None
    if later.others is not None:
        kept = np.flatnonzero(later.others[e] > later.others[s])
        s, e, next_s, next_e = s[kept], e[kept], next_s[kept], next_e[kept]
    # What sticks out of the next row's run: a part on the left, one on the right, or the whole when both do.
    left = s < np.minimum(e, next_s)
    right = np.maximum(s, next_e) < e
    row = np.flatnonzero(left | right)
    low = np.where(left, s, np.maximum(s, next_e))[row]
    high = np.where(right, e, np.minimum(e, next_s))[row]
    value = ((row if kept is None else kept[row]) + first_row).astype(np.int32)
    level = (np.frexp(high - low)[1] - 1).astype(np.int8)
    counts = np.bincount(level)
    if np.count_nonzero(counts) > 1:
        order = np.argsort(level, kind="stable")  # bytes are sorted by counting
        low, high, value = low[order], high[order], value[order]
    long = int(counts[:_SHORT].sum())
    if long < len(low):
        later.add(low[long:], high[long:])
    last = counts.cumsum()
    for here in np.flatnonzero(counts).tolist():
        marks = levels.setdefault(here, _Level(kv_len))
        mine = slice(int(last[here] - counts[here]), int(last[here]))
        marks.add(low[mine].astype(np.int64), value[mine])
        if here:
            marks.add(high[mine].astype(np.int64) - (1 << here), value[mine])
