"""Per key, the last row that sees it: the maximum of painted intervals, in time that follows how much rows change.

Painting the row number over each interval and keeping the largest is what a sparse table answers, read backwards: an
interval is two overlapping powers of two, marked on their level; then each level hands its marks down to its halves.
Few intervals need painting: what the next row sees again in the same slot, that row paints later anyway. Of a sliding
window one key a row is left, and of a causal mask the last row alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._spans import Planes, Spans

_CHUNK = 1 << 15


def last_seen(spans: Spans) -> npt.NDArray[np.int64]:
    """int64 `(B, H, K)`: the index of the last row that holds each key, -1 where none does."""
    batch, heads, _ = spans.shape
    out = np.empty((batch, heads, spans.kv_len), dtype=np.int64)
    for b in range(batch):
        for h in range(heads):
            out[b, h] = _paint(spans.planes_starts[:, b, h], spans.planes_ends[:, b, h], spans.kv_len)
    return out


def _paint(starts: Planes, ends: Planes, kv_len: int) -> Planes:
    levels: dict[int, Planes] = {}
    for i in range(0, starts.shape[1], _CHUNK):
        for plane in range(len(starts)):
            _mark(levels, i, starts[plane, i : i + _CHUNK + 1], ends[plane, i : i + _CHUNK + 1], kv_len)
    marks = np.full(kv_len, -1, dtype=np.int32)
    for level in range(max(levels, default=0), 0, -1):
        marks = np.maximum(marks, levels.pop(level)) if level in levels else marks
        half = 1 << (level - 1)
        below = marks.copy()
        np.maximum(below[half:], marks[:-half], out=below[half:])
        marks = below
    return np.maximum(marks, levels[0]) if 0 in levels else marks


def _mark(levels: dict[int, Planes], first_row: int, starts: Planes, ends: Planes, kv_len: int) -> None:
    """Mark one slot of up to a chunk of rows; the row after the chunk is there only to be compared with."""
    if len(starts) <= _CHUNK:  # the end of the rows: nothing comes after
        nothing = np.full(1, kv_len, dtype=np.int32)
        starts, ends = np.append(starts, nothing), np.append(ends, nothing)
    s, e, next_s, next_e = starts[:-1], ends[:-1], starts[1:], ends[1:]
    # What sticks out of the next row's run: a part on the left, one on the right, or the whole when both do.
    left = s < np.minimum(e, next_s)
    right = np.maximum(s, next_e) < e
    row = np.flatnonzero(left | right)
    low = np.where(left, s, np.maximum(s, next_e))[row]
    high = np.where(right, e, np.minimum(e, next_s))[row]
    level = (np.frexp(high - low)[1] - 1).astype(np.int8)
    value = (row + first_row).astype(np.int32)
    counts = np.bincount(level)
    if np.count_nonzero(counts) > 1:
        order = np.argsort(level, kind="stable")  # bytes are sorted by counting
        low, high, value = low[order], high[order], value[order]
    last = counts.cumsum()
    for here in np.flatnonzero(counts).tolist():
        if here not in levels:
            levels[here] = np.full(kv_len, -1, dtype=np.int32)
        mine = slice(int(last[here] - counts[here]), int(last[here]))
        np.maximum.at(levels[here], low[mine].astype(np.int64), value[mine])
        if here:
            np.maximum.at(levels[here], high[mine].astype(np.int64) - (1 << here), value[mine])
