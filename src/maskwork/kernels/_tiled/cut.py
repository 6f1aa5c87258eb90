"""Rows cut into tiles that share their keys: which keys each tile reads, and which of those need a mask.

A tile is some rows against the union of what they see. Its work is rows times keys, so rows belong together that see
nearly the same: neighbours, as a rule. Cuts fall where a row shares little with the one before (documents); rows that
fit no neighbour (global tokens, dilated windows) are gathered with others of their like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...spans import Int32s, Ints, Planes, Spans, intersection, pick_rows, subtract

# Fewer neighbours than this make no tile of their own.
_LEAST_STRETCH = 8
# The longest repeat of a pattern, in rows, that is looked for among rows unlike their neighbours.
_LONGEST_LAG = 64
_SAMPLE = 32
# Columns that a tile's width is a multiple of, where it costs nothing: odd widths slow matrix products by a tenth.
_VECTOR = 16


class Segment(NamedTuple):
    """Rows `[q0, q1)` that all see the keys `[k0, k1)`; with `causal`, row q also sees `[k1, k1 + q - q0]`."""

    q0: int
    q1: int
    k0: int
    k1: int
    causal: bool


@dataclass(frozen=True, eq=False)
class Tiles:
    """Rows and keys of T tiles, ragged: what belongs to tile t lies at `[at[t], at[t + 1])`.

    Args:
        rows, rows_at: the rows of each tile.
        keys, keys_at: int32 `(n, 2)` ranges of keys that the tile reads, laid end to end as its columns.
        masked, masked_at: int32 `(n, 2)` ranges of columns that not all of its rows see.
        starts, ends: int32 `(R, rows)`: what each row sees of the masked columns, counted within those alone.
    """

    rows: Ints
    rows_at: Ints
    keys: Int32s
    keys_at: Ints
    masked: Int32s
    masked_at: Ints
    starts: Planes
    ends: Planes

    def __len__(self) -> int:
        return len(self.rows_at) - 1


def find_segments(spans: Spans, least_rows: int, least_keys: int) -> list[Segment]:
    """Maximal stretches of rows, numbered from 0, that are one rectangle, or one with a triangle at its right end."""
    starts, ends = spans.planes_starts[0, 0, 0].astype(np.int64), spans.planes_ends[0, 0, 0].astype(np.int64)
    rows = len(starts)
    if rows < least_rows:
        return []
    whole = starts < ends
    if spans.runs > 1:
        whole &= spans.planes_starts[1, 0, 0] >= spans.kv_len
    grows = np.diff(ends)
    step = np.where(whole[1:] & whole[:-1] & (np.diff(starts) == 0) & ((grows == 0) | (grows == 1)), grows, -1)
    # stretches of equal steps; a row between two of them goes to the first
    edges = np.concatenate([[0], np.flatnonzero(np.diff(step)) + 1, [rows - 1]])
    out: list[Segment] = []
    done = 0
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        kind, q0, q1 = int(step[first]), max(first, done), last + 1
        if kind < 0 or q1 - q0 < least_rows:
            continue
        k0, k1, causal = int(starts[q0]), int(ends[q0]) - kind, kind == 1
        if (k1 - k0) + (q1 - q0) // 2 * kind >= least_keys:
            out.append(Segment(q0, q1, k0, k1, causal))
            done = q1
    return out


def cut_tiles(spans: Spans, rows: Ints, height: float, call: float) -> Tiles:
    """Tiles of these rows of `spans` (B = H = 1), all of which see something.

    Args:
        spans: the geometry, rows numbered from 0.
        rows: int64, ascending.
        height: rows that cost as much as a tile's further cost for every key that it reads.
        call: cells that cost as much as a tile does for being one.
    """
    order, cuts = _order(spans, rows, height, call)
    return _measure(spans, order, cuts)


def _order(spans: Spans, rows: Ints, height: float, call: float) -> tuple[Ints, Ints]:
    """The rows as tiles take them, and where tiles begin: `(rows,)`, `(T + 1,)`."""
    sizes = spans.sizes()[0, 0]
    joined = _joined(spans, sizes, rows[:-1], rows[1:])[0]
    stretch = np.concatenate([[0], (~joined).cumsum()]) if len(rows) else rows
    lonely = np.bincount(stretch, minlength=1)[stretch] < _LEAST_STRETCH
    parts = [rows[~lonely], _by_likeness(spans, sizes, rows[lonely])]
    cuts: list[Ints] = []
    done = 0
    for part in parts:
        if len(part):
            cuts.append(done + _cuts(spans, sizes, part, height, call))
        done += len(part)
    return np.concatenate(parts), np.concatenate([*cuts, np.array([done])])


def _joined(spans: Spans, sizes: Ints, a: Ints, b: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
    """For pairs of rows: whether the larger shares half of its keys with the other, and how many keys are shared."""
    shared = (
        intersection(pick_rows(spans, a), pick_rows(spans, b)).sizes()[0, 0] if len(a) else np.zeros(0, dtype=np.int64)
    )
    return 2 * shared >= np.maximum(sizes[a], sizes[b]), shared


def _by_likeness(spans: Spans, sizes: Ints, rows: Ints) -> Ints:
    """Rows unlike their neighbours, in an order that makes more of them alike."""
    if len(rows) < 8 * _LEAST_STRETCH:
        return rows[np.argsort(sizes[rows], kind="stable")]
    # dilated windows, strided patterns: row q is like row q + lag
    sample = rows[:: max(len(rows) // _SAMPLE, 1)]
    row, lag = (x.ravel() for x in np.meshgrid(sample, np.arange(2, _LONGEST_LAG + 1)))
    row, lag = row[row + lag < len(sizes)], lag[row + lag < len(sizes)]
    alike = np.bincount(lag, _joined(spans, sizes, row, row + lag)[0], _LONGEST_LAG + 1)
    share = alike / np.maximum(np.bincount(lag, minlength=_LONGEST_LAG + 1), 1)
    best = int(share.argmax()) if share.max() > 0.5 else 1
    first = spans.planes_starts[0, 0, 0, rows]
    if best > 1:
        return rows[np.lexsort((rows, rows % best, sizes[rows] > 4 * np.median(sizes[rows])))]
    return rows[np.lexsort((rows, first, sizes[rows]))]


def _cuts(spans: Spans, sizes: Ints, rows: Ints, height: float, call: float) -> Ints:
    """Where tiles begin among rows in this order: at every break, and so often that reading and masking balance."""
    joined, shared = _joined(spans, sizes, rows[:-1], rows[1:])
    breaks = np.concatenate([[0], np.flatnonzero(~joined) + 1, [len(rows)]])
    new = np.concatenate([[0], (sizes[rows[1:]] - shared).cumsum()])
    total = np.concatenate([[0], sizes[rows].cumsum()])
    out: list[Ints] = []
    for a, b in zip(breaks[:-1].tolist(), breaks[1:].tolist(), strict=True):
        length: int = b - a
        mean = (total[b] - total[a]) / length
        slope = (new[b - 1] - new[a]) / max(length - 1, 1)  # keys that a further row adds to a tile
        best = float(np.sqrt((mean * height + call) / max(slope, 1e-3)))
        tiles = -(-length // int(min(max(best, 16), 256)))
        # equal heights, so that tiles share their masks
        each = -(-length // (8 * tiles)) * 8
        out.append(np.arange(a, b, each, dtype=np.int64))
    return np.concatenate(out)


def _measure(spans: Spans, rows: Ints, cuts: Ints) -> Tiles:
    """Keys and masks of the tiles `rows[cuts[t]:cuts[t + 1]]`, all at once.

    With all starts and all ends of a tile sorted apart, a stretch that any row sees closes at the k-th smallest end
    when the next start lies beyond it; one that all h rows see is [start k + h - 1, end k).
    """
    tiles, width = len(cuts) - 1, spans.kv_len + 1
    heights = np.diff(cuts)
    tile = np.repeat(np.arange(tiles), heights)
    starts, ends = (
        spans.planes_starts[:, 0, 0, rows].astype(np.int64),
        spans.planes_ends[:, 0, 0, rows].astype(np.int64),
    )
    used = starts < ends
    # keys are numbered on from tile to tile, so that one sort does for all
    low, high = np.sort((tile * width + starts)[used]), np.sort((tile * width + ends)[used])
    of = low // width
    opens = np.concatenate([[True], (low[1:] > high[:-1]) | (of[1:] != of[:-1])]) if len(low) else used[0, :0]
    first, last = low[opens], high[np.concatenate([opens[1:], [True]])] if len(low) else high
    owner = first // width
    keys_at = np.searchsorted(owner, np.arange(tiles + 1))

    partner = np.arange(len(low)) + heights[of] - 1
    inside = np.flatnonzero(partner < np.searchsorted(of, np.arange(tiles), side="right")[of])
    full_first, full_last = low[partner[inside]], high[inside]
    some = full_first < full_last
    full_first, full_last = full_first[some], full_last[some]
    _round_up(first, last, keys_at, width, full_first, full_last)

    def ragged(a: Ints, b: Ints, of: Ints) -> tuple[Ints, Int32s, Int32s]:
        return of, (a - of * width).astype(np.int32), (b - of * width).astype(np.int32)

    of_masked, masked_first, masked_last = subtract(
        ragged(first, last, owner), ragged(full_first, full_last, full_first // width), spans.kv_len
    )
    masked_at = np.searchsorted(of_masked, np.arange(tiles + 1))
    masked_first, masked_last = of_masked * width + masked_first, of_masked * width + masked_last

    # columns: the ranges of a tile laid end to end
    column = _within(last - first, keys_at)
    range_of = np.searchsorted(first, masked_first, side="right") - 1
    shift = column[range_of] - first[range_of]
    masked = np.stack([masked_first + shift, masked_last + shift], axis=1).astype(np.int32)

    # each row's runs, counted in masked columns
    lengths = masked_last - masked_first
    before = _within(lengths, masked_at)

    def rank(key: Ints) -> Ints:
        at = np.searchsorted(masked_first, tile * width + key, side="right") - 1
        here = (at >= 0) & (of_masked[at] == tile) if len(of_masked) else np.zeros(key.shape, dtype=np.bool_)
        if not here.any():
            return np.zeros(key.shape, dtype=np.int64)
        return np.where(here, before[at] + np.minimum(tile * width + key - masked_first[at], lengths[at]), 0)

    rank_starts, rank_ends = rank(starts), rank(ends)
    nothing = ~used | (rank_starts >= rank_ends)
    rank_starts[nothing] = rank_ends[nothing] = 0
    return Tiles(
        rows,
        cuts,
        np.stack([first - owner * width, last - owner * width], axis=1).astype(np.int32),
        keys_at,
        masked,
        masked_at,
        np.sort(rank_starts, axis=0).astype(np.int32),
        np.sort(rank_ends, axis=0).astype(np.int32),
    )


def _round_up(first: Ints, last: Ints, keys_at: Ints, width: int, full_first: Ints, full_last: Ints) -> None:
    """Widen tiles, in place, to whole vectors of columns: at an end that is masked anyway, while there are keys."""
    total = np.concatenate([[0], (last - first).cumsum()])
    lacking = -(total[keys_at[1:]] - total[keys_at[:-1]]) % _VECTOR
    final, initial = keys_at[1:] - 1, keys_at[:-1]
    right = ~np.isin(last[final], full_last) & (last[final] % width + lacking < width)
    left = ~right & ~np.isin(first[initial], full_first) & (first[initial] % width >= lacking)
    last[final] += np.where(right, lacking, 0)
    first[initial] -= np.where(left, lacking, 0)


def _within(lengths: Ints, at: Ints) -> Ints:
    """Sums of the lengths before each one, within its own group `[at[i], at[i + 1])`."""
    total = np.concatenate([[0], lengths.cumsum()])
    return total[:-1] - np.repeat(total[at[:-1]], np.diff(at))
