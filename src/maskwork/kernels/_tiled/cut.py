"""Rows cut into tiles that share their keys: which keys each tile reads, and which of those need a mask.

A tile is some rows against the union of the keys that they see. It computes rows x keys cells, so a tile should be rows
that see nearly the same keys: neighbours, as a rule. A causal window of 4 keys, in tiles of 4 rows:

    keys       0 1 2 3 4 5 6 7 8 9
    row 0      # . . .                    #  allowed
    row 1      # # . .                    .  computed and masked
    row 2      # # # .
    row 3      # # # #
             ----------------
    row 4        # # # # . . .            tile 1: rows 4 to 7, keys 1 to 7; only column 4 (counted from key 0) is
    row 5        . # # # # . .            seen by all four rows, so all others need a mask
    row 6        . . # # # # .
    row 7        . . . # # # #

Cuts fall where a row shares few keys with the row before (the borders of documents). Rows that are unlike their
neighbours (global tokens, dilated windows) are gathered with rows that they are like. In between, taller tiles read
each key fewer times, and lower tiles compute fewer masked cells: `cut_tiles` balances the two with a cost model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...spans import Int32s, Ints, Planes, Spans, intersection, pick_rows, subtract

# Fewer rows in sequence are no stretch: they are gathered with the other rows that are unlike their neighbours.
_LEAST_STRETCH = 8
# Rows that are unlike their neighbours may be like the row `lag` further on. Lags up to the longest are tried, on a
# sample of the rows.
_LONGEST_LAG = 64
_SAMPLE = 32
# A tile's width is rounded up to a multiple, where that costs nothing: odd widths slow matrix products by a tenth.
_VECTOR = 16


class Segment(NamedTuple):
    """Rows `[q0, q1)` that all see the keys `[k0, k1)`; with `causal`, row q also sees `[k1, k1 + q - q0]`.

       k0    k1                k0    k1
    q0 ######               q0 #######
       ######                  ########
       ######                  #########
    q1 causal=False         q1 causal=True
    """

    q0: int
    q1: int
    k0: int
    k1: int
    causal: bool


@dataclass(frozen=True, eq=False)
class Tiles:
    """Rows and keys of T tiles as ragged arrays: tile t has the entries `[x_at[t], x_at[t + 1])` of array `x`.

    Attributes:
        rows, rows_at: the rows of each tile.
        keys, keys_at: int32 `(n, 2)` ranges of keys that the tile reads; laid end to end they are the tile's columns.
        masked, masked_at: int32 `(n, 2)` ranges of columns that not all rows of the tile see.
        starts, ends: int32 `(R, rows)`: the runs of masked columns that each row sees, counted within the masked
            columns alone.
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
    """Return the longest stretches of rows that are a rectangle, with or without a triangle at its right end.

    Args:
        spans: of one plane (B = H = 1), rows numbered from 0.
        least_rows: fewest rows of a segment.
        least_keys: fewest keys a row, on average.
    """
    starts, ends = spans.planes_starts[0, 0, 0].astype(np.int64), spans.planes_ends[0, 0, 0].astype(np.int64)
    rows = len(starts)
    if rows < least_rows:
        return []
    one_run = starts < ends
    if spans.runs > 1:
        one_run &= spans.planes_starts[1, 0, 0] >= spans.kv_len
    # step from row to row: 0 continues a rectangle, 1 a triangle, -1 neither
    growth = np.diff(ends)
    step = np.where(one_run[1:] & one_run[:-1] & (np.diff(starts) == 0) & ((growth == 0) | (growth == 1)), growth, -1)
    # stretches of equal steps; a row between two stretches goes to the first
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


def cut_tiles(spans: Spans, rows: Ints, key_cost: float, tile_cost: float) -> Tiles:
    """Cut these rows of `spans` into tiles.

    The cost of a tile is modelled as cells + key_cost * keys + tile_cost, in units of one cell.

    Args:
        spans: the geometry of one plane (B = H = 1), rows numbered from 0.
        rows: int64, ascending; each row sees a key.
        key_cost: cost of reading one key, in cells.
        tile_cost: fixed cost of one tile, in cells.
    """
    order, cuts = _order(spans, rows, key_cost, tile_cost)
    return _measure(spans, order, cuts)


def _order(spans: Spans, rows: Ints, key_cost: float, tile_cost: float) -> tuple[Ints, Ints]:
    """Return the rows in the order of the tiles, `(rows,)`, and the borders of the tiles, `(T + 1,)`."""
    sizes = spans.sizes()[0, 0]
    joined = _joined(spans, sizes, rows[:-1], rows[1:])[0]
    # a stretch is a sequence of rows each of which is like the row before
    stretch = np.concatenate([[0], (~joined).cumsum()]) if len(rows) else rows
    isolated = np.bincount(stretch, minlength=1)[stretch] < _LEAST_STRETCH
    parts = [rows[~isolated], _by_likeness(spans, sizes, rows[isolated])]
    cuts: list[Ints] = []
    done = 0
    for part in parts:
        if len(part):
            cuts.append(done + _cuts(spans, sizes, part, key_cost, tile_cost))
        done += len(part)
    return np.concatenate(parts), np.concatenate([*cuts, np.array([done])])


def _joined(spans: Spans, sizes: Ints, a: Ints, b: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Compare pairs of rows: whether the row with more keys shares half of them, and the number of shared keys."""
    shared = (
        intersection(pick_rows(spans, a), pick_rows(spans, b)).sizes()[0, 0] if len(a) else np.zeros(0, dtype=np.int64)
    )
    return 2 * shared >= np.maximum(sizes[a], sizes[b]), shared


def _by_likeness(spans: Spans, sizes: Ints, rows: Ints) -> Ints:
    """Return rows that are unlike their neighbours in an order that makes more neighbours alike."""
    if len(rows) < 8 * _LEAST_STRETCH:
        return rows[np.argsort(sizes[rows], kind="stable")]
    # dilated windows, strided patterns: row q is like row q + lag
    sample = rows[:: max(len(rows) // _SAMPLE, 1)]
    row, lag = (x.ravel() for x in np.meshgrid(sample, np.arange(2, _LONGEST_LAG + 1)))
    row, lag = row[row + lag < len(sizes)], lag[row + lag < len(sizes)]
    matches = np.bincount(lag, _joined(spans, sizes, row, row + lag)[0], _LONGEST_LAG + 1)
    share = matches / np.maximum(np.bincount(lag, minlength=_LONGEST_LAG + 1), 1)
    best = int(share.argmax()) if share.max() > 0.5 else 1
    first = spans.planes_starts[0, 0, 0, rows]
    if best > 1:
        # 0, lag, 2 lag, ..., then 1, lag + 1, ...; rows with far more keys than usual (global tokens) come last
        return rows[np.lexsort((rows, rows % best, sizes[rows] > 4 * np.median(sizes[rows])))]
    return rows[np.lexsort((rows, first, sizes[rows]))]


def _cuts(spans: Spans, sizes: Ints, rows: Ints, key_cost: float, tile_cost: float) -> Ints:
    """Return where tiles begin among rows in this order: at every break, and as often as the cost model says.

    A tile of h rows reads `mean + slope h` keys, so n rows in tiles of h rows cost, up to a constant,

        n / h (h (mean + slope h) + key_cost (mean + slope h) + tile_cost)
        = n slope h + n (key_cost mean + tile_cost) / h + ...

    which is smallest at h = sqrt((key_cost mean + tile_cost) / slope).
    """
    joined, shared = _joined(spans, sizes, rows[:-1], rows[1:])
    breaks = np.concatenate([[0], np.flatnonzero(~joined) + 1, [len(rows)]])
    new = np.concatenate([[0], (sizes[rows[1:]] - shared).cumsum()])
    total = np.concatenate([[0], sizes[rows].cumsum()])
    out: list[Ints] = []
    for a, b in zip(breaks[:-1].tolist(), breaks[1:].tolist(), strict=True):
        length: int = b - a
        mean = (total[b] - total[a]) / length
        slope = (new[b - 1] - new[a]) / max(length - 1, 1)  # keys that one more row adds to a tile
        best = float(np.sqrt((mean * key_cost + tile_cost) / max(slope, 1e-3)))
        tiles = -(-length // int(min(max(best, 16), 256)))
        # equal heights, a multiple of 8, so that tiles share their patterns
        height = -(-length // (8 * tiles)) * 8
        out.append(np.arange(a, b, height, dtype=np.int64))
    return np.concatenate(out)


def _measure(spans: Spans, rows: Ints, cuts: Ints) -> Tiles:
    """Find the keys and the masked columns of the tiles `rows[cuts[t]:cuts[t + 1]]`, all tiles at once.

    Sort the starts of a tile's runs, and separately the ends. Between them, a counter of open runs goes up at each
    start and down at each end:

        row 0     ####              starts 0 1 2      ends 4 5 6
        row 1      ####
        row 2       ####
        open      123321            a key with open > 0 is read by the tile: the union of the runs
                    ^^              a key with open = h = 3 is seen by all rows: it needs no mask

    Hence a range that any row sees closes at the k-th smallest end if the next start lies beyond; a range that all h
    rows see is [start k + h - 1, end k).
    """
    tiles, width = len(cuts) - 1, spans.kv_len + 1
    heights = np.diff(cuts)
    tile = np.repeat(np.arange(tiles), heights)
    starts, ends = (
        spans.planes_starts[:, 0, 0, rows].astype(np.int64),
        spans.planes_ends[:, 0, 0, rows].astype(np.int64),
    )
    used = starts < ends
    # Tile t's keys are numbered from t * width, so that one sort serves all tiles.
    low, high = np.sort((tile * width + starts)[used]), np.sort((tile * width + ends)[used])
    tile_of = low // width
    opens = np.concatenate([[True], (low[1:] > high[:-1]) | (tile_of[1:] != tile_of[:-1])]) if len(low) else used[0, :0]
    first, last = low[opens], high[np.concatenate([opens[1:], [True]])] if len(low) else high
    owner = first // width
    keys_at = np.searchsorted(owner, np.arange(tiles + 1))

    # ranges that all rows of a tile see
    partner = np.arange(len(low)) + heights[tile_of] - 1
    inside = np.flatnonzero(partner < np.searchsorted(tile_of, np.arange(tiles), side="right")[tile_of])
    full_first, full_last = low[partner[inside]], high[inside]
    nonempty = full_first < full_last
    full_first, full_last = full_first[nonempty], full_last[nonempty]
    _round_up(first, last, keys_at, width, full_first, full_last)

    def ragged(a: Ints, b: Ints, tiles_of: Ints) -> tuple[Ints, Int32s, Int32s]:
        return tiles_of, (a - tiles_of * width).astype(np.int32), (b - tiles_of * width).astype(np.int32)

    # masked = keys that the tile reads - keys that all of its rows see
    masked_tile, masked_first, masked_last = subtract(
        ragged(first, last, owner), ragged(full_first, full_last, full_first // width), spans.kv_len
    )
    masked_at = np.searchsorted(masked_tile, np.arange(tiles + 1))
    masked_first, masked_last = masked_tile * width + masked_first, masked_tile * width + masked_last

    # from keys to columns: the ranges of a tile laid end to end
    column = _within(last - first, keys_at)
    range_of = np.searchsorted(first, masked_first, side="right") - 1
    shift = column[range_of] - first[range_of]
    masked = np.stack([masked_first + shift, masked_last + shift], axis=1).astype(np.int32)

    # from keys to masked columns, in which each row's runs are counted
    lengths = masked_last - masked_first
    before = _within(lengths, masked_at)

    def rank(key: Ints) -> Ints:
        """Return how many masked columns of its tile lie before each key."""
        index = np.searchsorted(masked_first, tile * width + key, side="right") - 1
        inside = (
            (index >= 0) & (masked_tile[index] == tile) if len(masked_tile) else np.zeros(key.shape, dtype=np.bool_)
        )
        if not inside.any():
            return np.zeros(key.shape, dtype=np.int64)
        return np.where(inside, before[index] + np.minimum(tile * width + key - masked_first[index], lengths[index]), 0)

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
    """Widen tiles, in place, to whole vectors of columns: at an end that is masked anyway, as far as there are keys."""
    total = np.concatenate([[0], (last - first).cumsum()])
    lacking = -(total[keys_at[1:]] - total[keys_at[:-1]]) % _VECTOR
    final, initial = keys_at[1:] - 1, keys_at[:-1]
    right = ~np.isin(last[final], full_last) & (last[final] % width + lacking < width)
    left = ~right & ~np.isin(first[initial], full_first) & (first[initial] % width >= lacking)
    last[final] += np.where(right, lacking, 0)
    first[initial] -= np.where(left, lacking, 0)


def _within(lengths: Ints, borders: Ints) -> Ints:
    """Return the sum of the lengths before each length, within its group `[borders[i], borders[i + 1])`."""
    total = np.concatenate([[0], lengths.cumsum()])
    return total[:-1] - np.repeat(total[borders[:-1]], np.diff(borders))
