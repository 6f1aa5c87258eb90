"""Schedules for the tiled kernel: which rows meet which keys, as one tensor of integers.

A schedule has parts of two kinds. Every row that sees a key lies in exactly one part:

    keys ->                                      #  segment: a rectangle, or a triangle at the right end of one; large,
    #                                               so that a fused kernel takes it
    ##                                           o  tile: rows that read the same keys, with a pattern where not all
    ###                                             rows see them; small
    ####                                         .  neither computed nor read
    oo...oooo...
    oo....oooo..
    oo.....oooo.

The tensor is int32 and one-dimensional, so that `torch.compile` and C take another mask as other numbers. With S
segments, T tiles and P patterns:

| table | rows x columns | columns |
| --- | --- | --- |
| header | 1 x 4 | complete (1: every row lies in some part), S, T, P |
| segments | S x 7 | batch, head, q0, q1, k0, k1, causal |
| tiles | T x 13 | batch, head, q0, rows_at, height, n_keys, keys_at, n_masked, masked_at, pattern, repeats, row_step, |
| | | steps_at |
| patterns | P x 4 | runs, height, width, runs_at |
| pool | | everything without a fixed length; a column that ends in `_at` is an offset into the pool |

The tables follow each other, row by row, in this order. batch and head are -1 where the part stands for all. q0 is -1
where the rows are gathered: they lie at `rows_at`. The keys are n_keys pairs (start, end), the masked columns n_masked
pairs, the steps n_keys integers, and a pattern's runs two arrays (runs, height): starts, then ends. csrc/schedule.h
reads the same tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...lower import lowered
from ...masks import BoundMask
from ...spans import Int32s, Ints
from .cut import Segment, Tiles, cut_tiles, find_segments

#: A tile's rows, keys, masked columns, and which of the masked columns each row sees: starts and ends.
_Cut = tuple[Ints, Int32s, Int32s, Int32s, Int32s]

# The cost model of `cut_tiles`, which balances tall tiles (each key is read by fewer of them) against low ones (fewer
# masked cells); measured on two AVX2 cores.
_KEY_COST, _TILE_COST = 6.0, 3000.0
# From so many rows, and keys a row, on, a fused kernel takes a rectangle or triangle faster than tiles do.
_SEGMENT_ROWS, _SEGMENT_KEYS = 512, 1024
# Rows of a tile that replaces a piece of a segment.
_SEGMENT_HEIGHT = 128
# Up to so many ranges of keys are multiplied one by one; more ranges are copied together first.
_MOST_RANGES = 4


class Tile(NamedTuple):
    """Rows that read the same keys: one softmax over `width` columns, which are the keys laid end to end.

        keys     2 3 4   9 10 11 12        two ranges of keys
        columns  0 1 2   3  4  5  6        width = 7
        masked           3  4  5  6        one range of columns; `pattern` says which of them each row sees

    Attributes:
        batch, head: the batch row and query head, -1 = all.
        rows: a slice, or int64 indices.
        height: number of rows.
        keys: slices, or one tensor of int64 indices where there are many ranges.
        width: number of columns.
        masked: ranges of columns that not all rows see.
        pattern: which of the masked columns each row sees, as an index into the schedule's patterns; -1 = no column is
            masked.
        repeats: how often the tile occurs.
        row_step, key_steps: repeat i lies `i * row_step` rows and, range by range, `i * key_steps` keys further on.
    """

    batch: int
    head: int
    rows: slice | torch.Tensor
    height: int
    keys: tuple[slice, ...] | tuple[torch.Tensor, ...]
    width: int
    masked: tuple[slice, ...]
    pattern: int
    repeats: int = 1
    row_step: int = 0
    key_steps: tuple[int, ...] = ()

    def columns(self) -> Iterator[tuple[slice | torch.Tensor, slice]]:
        """Yield each range of keys with its columns."""
        first = 0
        for keys in self.keys:
            size = keys.stop - keys.start if isinstance(keys, slice) else len(keys)
            yield keys, slice(first, first + size)
            first += size

    def repeat(self, i: int) -> Tile:
        """Return repeat `i` as a tile that occurs once."""
        if self.repeats == 1 or isinstance(self.rows, torch.Tensor):
            return self
        first = self.rows.start + i * self.row_step
        keys = tuple(
            slice(piece.start + i * step, piece.stop + i * step)
            for piece, step in zip(self.keys, self.key_steps, strict=True)
            if isinstance(piece, slice)
        )
        assert len(keys) == len(self.keys), "a tile of gathered keys occurs once"
        steps = (0,) * len(keys)
        return self._replace(rows=slice(first, first + self.height), keys=keys, repeats=1, row_step=0, key_steps=steps)


class Pattern(NamedTuple):
    """Runs of a tile's masked columns, row by row.

    Attributes:
        starts, ends: int32 `(R, height)`: row i sees columns `[starts[r, i], ends[r, i])`, counted within the masked
            columns alone.
        width: number of masked columns.
    """

    starts: torch.Tensor
    ends: torch.Tensor
    width: int

    def allowed(self) -> torch.Tensor:
        """Return bool `(height, width)`, True = may attend."""
        columns = torch.arange(self.width, dtype=torch.int32)
        return ((columns >= self.starts[..., None]) & (columns < self.ends[..., None])).any(0)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Parts that together are a mask; rows in no part see nothing.

    Attributes:
        segments: `(batch, head, Segment)`: rectangles and triangles, for a fused kernel.
        tiles: all other cells.
        patterns: the masks of the tiles; equal masks are one pattern.
        complete: whether every row is in some part.
    """

    segments: tuple[tuple[int, int, Segment], ...]
    tiles: tuple[Tile, ...]
    patterns: tuple[Pattern, ...]
    complete: bool


def count_cells(schedule: Schedule) -> int:
    """Count the cells that the parts compute, over the mask's own batch rows and heads."""
    segments = sum((s.q1 - s.q0) * (s.k1 - s.k0 + (s.q1 - s.q0) // 2 * s.causal) for _, _, s in schedule.segments)
    return segments + sum(tile.repeats * tile.height * tile.width for tile in schedule.tiles)


# A schedule is immutable, and so are those derived from it: the last few are cached for the next layer or step.


@lru_cache(maxsize=16)
def unrolled(schedule: Schedule) -> Schedule:
    """Return the schedule with each repeat as a tile of its own: a bias differs from repeat to repeat."""
    return replace(schedule, tiles=tuple(tile.repeat(i) for tile in schedule.tiles for i in range(tile.repeats)))


@lru_cache(maxsize=16)
def without_segments(schedule: Schedule) -> Schedule:
    """Return the schedule in tiles alone, for what the fused kernel cannot do: dropout, a bias, a check for NaN.

    A triangle becomes tiles of `_SEGMENT_HEIGHT` rows, each masked at its right end; all of them share one pattern:

        #                        o
        ##                       oo        <- tile 0
        ###            ->        ooo
        ####                     oooo      <- tile 1: unmasked columns, then the same pattern
    """
    patterns = list(schedule.patterns)
    triangles: dict[int, int] = {}  # height -> pattern
    tiles = list(schedule.tiles)
    for batch, head, segment in schedule.segments:
        for first in range(0, segment.q1 - segment.q0, _SEGMENT_HEIGHT):
            height = min(_SEGMENT_HEIGHT, segment.q1 - segment.q0 - first)
            rows = slice(segment.q0 + first, segment.q0 + first + height)
            # row i of the segment sees i + 1 keys of the triangle
            end = segment.k1 + (first + height) * segment.causal
            width = end - segment.k0
            masked: tuple[slice, ...] = ()
            pattern = -1
            if segment.causal:
                masked = (slice(width - height, width),)
                pattern = triangles.setdefault(height, len(patterns))
                if pattern == len(patterns):
                    ends = torch.arange(1, height + 1, dtype=torch.int32).unsqueeze(0)
                    patterns.append(Pattern(torch.zeros_like(ends), ends, height))
            keys = (slice(segment.k0, end),)
            tiles.append(Tile(batch, head, rows, height, keys, width, masked, pattern, key_steps=(0,)))
    return Schedule((), tuple(tiles), tuple(patterns), schedule.complete)


def to_tiles(b: BoundMask) -> torch.Tensor:
    """Return the schedule of `impl="tiled"`: int32 `(n,)`, in the layout at the top of this file.

    A tensor, so that a compiled graph takes another mask as another input. Allowed cells that no tile shares cost
    their pieces; nothing is as large as Q x K unless the allowed cells are. Memoised with the mask and shared: do not
    write into the tensor.

    >>> import maskwork as mw
    >>> mw.kernels.to_tiles(mw.causal().bind(3))[:4]     # complete; no segment, one tile, one pattern
    tensor([1, 0, 1, 1], dtype=torch.int32)
    """
    return lowered(b, ("tiles",), lambda: _encode(b))


def read_schedule(schedule: torch.Tensor) -> Schedule:
    """Return the parts that `to_tiles` wrote. The last few schedules are cached by content."""
    return _decode(schedule.numpy().tobytes())


def _encode(b: BoundMask) -> torch.Tensor:
    """Cut the mask into segments and tiles, and write them down."""
    spans = b.spans
    pool = _Pool()
    segments: list[list[int]] = []
    tiles: list[list[int]] = []
    covered = 0
    for batch in range(spans.shape[0]):
        for head in range(spans.shape[1]):
            lane = [batch if spans.shape[0] > 1 else -1, head if spans.shape[1] > 1 else -1]
            plane = spans.plane(batch, head).expand((1, 1, b.grid.q_len))
            # rows that see a key; segments take theirs first, tiles share the rest
            rows_left = plane.planes_starts[0, 0, 0] < plane.kv_len
            covered += int(rows_left.sum())
            for segment in find_segments(plane, _SEGMENT_ROWS, _SEGMENT_KEYS):
                segments.append([*lane, *segment])
                rows_left[segment.q0 : segment.q1] = False
            cut = cut_tiles(plane, np.flatnonzero(rows_left), _KEY_COST, _TILE_COST)
            tiles += [[*lane, *entry] for entry in _entries(pool, [_tile(cut, t) for t in range(len(cut))])]
    tables = [np.array(t, dtype=np.int32).ravel() for t in (segments, tiles, pool.patterns)]
    complete = covered == spans.shape[0] * spans.shape[1] * b.grid.q_len
    header = np.array([complete, len(segments), len(tiles), len(pool.patterns)], dtype=np.int32)
    return torch.from_numpy(np.concatenate([header, *tables, *pool.pieces]).astype(np.int32))


class _Pool:
    """Append-only int32 buffer with interned patterns; `write` returns the offset."""

    def __init__(self) -> None:
        self.pieces: list[Int32s] = []
        self.size = 0
        self.patterns: list[list[int]] = []
        self._numbers: dict[tuple[int, int, bytes], int] = {}

    def write(self, values: npt.NDArray[np.integer]) -> int:
        """Append the values and return their offset."""
        self.pieces.append(values.astype(np.int32).ravel())
        self.size += values.size
        return self.size - values.size

    def intern(self, height: int, width: int, starts: npt.NDArray[np.integer], ends: npt.NDArray[np.integer]) -> int:
        """Return the number of a pattern, which is written on first use; -1 where nothing is masked."""
        if not width:
            return -1
        number = self._numbers.setdefault((height, width, starts.tobytes() + ends.tobytes()), len(self.patterns))
        if number == len(self.patterns):
            self.patterns.append([len(starts), height, width, self.write(np.stack([starts, ends]))])
        return number


def _entries(pool: _Pool, tiles: Sequence[_Cut]) -> Iterator[list[int]]:
    """Yield the tiles' rows of the table, without batch and head.

    Equal tiles at equal distances share one entry: a window of a million rows is a handful of entries.

        tile   first row   first key                entry
        0          0           0       repeats 3, row_step 64, key_steps (64,)
        1         64          64
        2        128         128
        3        200         150       another step: an entry of its own
    """
    groups: dict[tuple[int, int, bytes, bytes, int], list[_Cut]] = {}
    for number, (rows, keys, masked, starts, ends) in enumerate(tiles):
        pattern = pool.intern(len(rows), int((masked[:, 1] - masked[:, 0]).sum()), starts, ends)
        # Only tiles of contiguous rows and few ranges of keys can be shifted; the others are grouped with nothing.
        single = len(keys) > _MOST_RANGES or not bool((np.diff(rows) == 1).all())
        shape = (pattern, len(rows), (keys[:, 1] - keys[:, 0]).tobytes(), masked.tobytes(), number if single else -1)
        groups.setdefault(shape, []).append((rows, keys, masked, starts, ends))
    for (pattern, *_), members in groups.items():
        # the position of each member: its first row, then the first key of each range
        positions = np.array([[rows[0], *keys[:, 0]] for rows, keys, *_ in members], dtype=np.int64)
        steps = np.diff(positions, axis=0)
        first = 0
        while first < len(members):
            last = first + 1
            while last < len(members) and (steps[last - 1] == steps[first]).all() and (steps[first] >= 0).all():
                last += 1
            step = steps[first] if last - first > 1 else np.zeros_like(positions[0])
            rows, keys, masked, *_ = members[first]
            contiguous = bool((np.diff(rows) == 1).all())
            q0_and_rows = [int(rows[0]), -1] if contiguous else [-1, pool.write(rows)]
            yield [
                *q0_and_rows, len(rows), len(keys), pool.write(keys), len(masked), pool.write(masked), pattern,
                last - first, int(step[0]), pool.write(step[1:]),
            ]  # fmt: skip
            first = last


def _tile(cut: Tiles, t: int) -> _Cut:
    """Return tile `t` alone."""
    rows = slice(int(cut.rows_at[t]), int(cut.rows_at[t + 1]))
    return (
        cut.rows[rows],
        cut.keys[cut.keys_at[t] : cut.keys_at[t + 1]],
        cut.masked[cut.masked_at[t] : cut.masked_at[t + 1]],
        cut.starts[:, rows],
        cut.ends[:, rows],
    )


@lru_cache(maxsize=16)
def _decode(content: bytes) -> Schedule:
    """Read the layout at the top of this file."""
    values = np.frombuffer(content, dtype=np.int32)
    complete, *counts = values[:4].tolist()
    offset = 4
    tables: list[list[list[int]]] = []
    for count, columns in zip(counts, (7, 13, 4), strict=True):
        tables.append(values[offset : offset + count * columns].reshape(count, columns).tolist())
        offset += count * columns
    pool = values[offset:]
    return Schedule(
        tuple((b, h, Segment(q0, q1, k0, k1, bool(causal))) for b, h, q0, q1, k0, k1, causal in tables[0]),
        tuple(_read_tile(pool, *entry) for entry in tables[1]),
        tuple(_read_pattern(pool, *entry) for entry in tables[2]),
        bool(complete),
    )


def _read_tile(
    pool: Int32s, b: int, h: int, q0: int, rows_at: int, height: int, n_keys: int, keys_at: int, n_masked: int,
    masked_at: int, pattern: int, repeats: int, row_step: int, steps_at: int,
) -> Tile:  # fmt: skip
    """Read one tile; the names are the columns of the table."""
    rows = slice(q0, q0 + height) if q0 >= 0 else torch.from_numpy(pool[rows_at : rows_at + height].astype(np.int64))
    pairs = pool[keys_at : keys_at + 2 * n_keys].reshape(n_keys, 2)
    width = int((pairs[:, 1] - pairs[:, 0]).sum())
    keys: tuple[slice, ...] | tuple[torch.Tensor, ...]
    if n_keys <= _MOST_RANGES:
        steps = tuple(pool[steps_at : steps_at + n_keys].tolist())
        keys = tuple(slice(a, b) for a, b in pairs.tolist())
    else:
        steps = (0,)
        lengths = (pairs[:, 1] - pairs[:, 0]).astype(np.int64)
        shift = pairs[:, 0] - (lengths.cumsum() - lengths)  # from a column to its key
        keys = (torch.from_numpy(np.arange(width) + np.repeat(shift, lengths)),)
    pairs = pool[masked_at : masked_at + 2 * n_masked].reshape(n_masked, 2)
    masked = tuple(slice(a, b) for a, b in pairs.tolist())
    return Tile(b, h, rows, height, keys, width, masked, pattern, repeats, row_step, steps)


def _read_pattern(pool: Int32s, runs: int, height: int, width: int, runs_at: int) -> Pattern:
    """Read one pattern; the names are the columns of the table."""
    starts, ends = pool[runs_at : runs_at + 2 * runs * height].reshape(2, runs, height).copy()
    return Pattern(torch.from_numpy(starts), torch.from_numpy(ends), width)
