"""Schedules for the tiled kernel: which rows meet which keys, as one tensor of integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...lower import lowered
from ...masks import BoundMask
from .cut import Segment, Tiles, cut_tiles, find_segments

Int32s = npt.NDArray[np.int32]
#: A tile's rows, keys, masked columns, and what each row sees of these.
_Cut = tuple[npt.NDArray[np.int64], Int32s, Int32s, Int32s, Int32s]

# What balances tall tiles (fewer reads of each key) against low ones (fewer masked cells), measured on two AVX2 cores:
# a further key costs a tile as much as that many rows of cells, and a tile costs as much as that many cells.
_HEIGHT, _CALL = 6.0, 3000.0
# From how many rows, and keys a row, a fused kernel takes a rectangle or triangle faster than tiles do.
_SEGMENT_ROWS, _SEGMENT_KEYS = 512, 1024
# Rows of a tile that stands in for a piece of a segment.
_SEGMENT_HEIGHT = 128
# As many ranges of keys are multiplied one by one; more are first copied together.
_MOST_RANGES = 4


class Tile(NamedTuple):
    """Rows that read the same keys: one softmax over `width` columns, `keys` laid end to end. Repeated `repeats` times.

    `batch` and `head` are -1 where the tile stands for all. `rows` is a slice or int64 indices, and so is each of
    `keys`. `masked` are the ranges of columns for which `pattern` (-1: none) says what each row sees. Repeat i lies
    `i * row_step` rows and, range by range, `i * key_steps` keys further on.
    """

    batch: int
    head: int
    rows: slice | torch.Tensor
    height: int
    keys: list[slice] | list[torch.Tensor]
    width: int
    masked: list[slice]
    pattern: int
    repeats: int = 1
    row_step: int = 0
    key_steps: tuple[int, ...] = ()

    def columns(self) -> Iterator[tuple[slice | torch.Tensor, slice]]:
        """The keys, piece by piece, each with the columns where it stands."""
        at = 0
        for keys in self.keys:
            size = keys.stop - keys.start if isinstance(keys, slice) else len(keys)
            yield keys, slice(at, at + size)
            at += size

    def repeat(self, i: int) -> Tile:
        """Repeat `i` alone."""
        if self.repeats == 1 or isinstance(self.rows, torch.Tensor):
            return self
        rows, keys = self.rows.start + i * self.row_step, self.keys
        moved = [slice(k.start + i * s, k.stop + i * s) for k, s in zip(keys, self.key_steps, strict=True)]  # type: ignore[union-attr]
        return self._replace(
            rows=slice(rows, rows + self.height), keys=moved, repeats=1, row_step=0, key_steps=(0,) * len(keys)
        )


class Pattern(NamedTuple):
    """What each row of a tile sees of its masked columns: int32 `(R, height)` runs within them, `width` in all."""

    starts: torch.Tensor
    ends: torch.Tensor
    width: int

    def allowed(self) -> torch.Tensor:
        """bool `(height, width)`, True = may attend."""
        columns = torch.arange(self.width, dtype=torch.int32)
        return ((columns >= self.starts[..., None]) & (columns < self.ends[..., None])).any(0)


@dataclass(frozen=True, eq=False)
class Schedule:
    """The parts that together are a mask; rows that are in none see nothing.

    Args:
        segments: `(batch, head, Segment)`: rectangles and triangles, for a fused kernel.
        tiles: everything else.
        patterns: the masks of the tiles, each once.
        complete: whether every row is in some part.
    """

    segments: list[tuple[int, int, Segment]]
    tiles: list[Tile]
    patterns: list[Pattern]
    complete: bool

    @cached_property
    def cells(self) -> int:
        """Cells that are computed, over the mask's own batch and heads."""
        segments = sum((s.q1 - s.q0) * (s.k1 - s.k0 + (s.q1 - s.q0) // 2 * s.causal) for _, _, s in self.segments)
        return segments + sum(tile.repeats * tile.height * tile.width for tile in self.tiles)

    @cached_property
    def one_by_one(self) -> Schedule:
        """The same with each repeat a tile of its own."""
        return replace(self, tiles=[tile.repeat(i) for tile in self.tiles for i in range(tile.repeats)])

    @cached_property
    def without_segments(self) -> Schedule:
        """The same in tiles alone: for dropout, biases and whatever else a fused kernel does not do."""
        patterns = list(self.patterns)
        triangles: dict[int, int] = {}
        tiles = list(self.tiles)
        for batch, head, segment in self.segments:
            for first in range(0, segment.q1 - segment.q0, _SEGMENT_HEIGHT):
                height = min(_SEGMENT_HEIGHT, segment.q1 - segment.q0 - first)
                rows = slice(segment.q0 + first, segment.q0 + first + height)
                # row i of the segment sees i + 1 keys of the triangle
                end = segment.k1 + (first + height) * segment.causal
                width = end - segment.k0
                masked: list[slice] = []
                pattern = -1
                if segment.causal:
                    masked = [slice(width - height, width)]
                    pattern = triangles.setdefault(height, len(patterns))
                    if pattern == len(patterns):
                        sees = torch.arange(1, height + 1, dtype=torch.int32).unsqueeze(0)
                        patterns.append(Pattern(torch.zeros_like(sees), sees, height))
                keys = [slice(segment.k0, end)]
                tiles.append(Tile(batch, head, rows, height, keys, width, masked, pattern, key_steps=(0,)))
        return Schedule([], tiles, patterns, self.complete)


def to_tiles(b: BoundMask) -> torch.Tensor:
    """The schedule of `impl="tiled"`: int32 `(n,)`, which `read_schedule` takes apart.

    A tensor, so that a compiled graph takes another mask as another input. Allowed cells that no tile shares cost
    their pieces; nothing is as large as Q x K unless the allowed cells are.
    """
    return lowered(b, ("tiles",), lambda: _encode(b))


def read_schedule(schedule: torch.Tensor) -> Schedule:
    """The parts that `to_tiles` wrote down; the last few are kept."""
    return _decode(schedule.numpy().tobytes())


def _encode(b: BoundMask) -> torch.Tensor:
    spans = b.spans
    book = _Book()
    segments: list[list[int]] = []
    tiles: list[list[int]] = []
    covered = 0
    for batch in range(spans.shape[0]):
        for head in range(spans.shape[1]):
            lane = [batch if spans.shape[0] > 1 else -1, head if spans.shape[1] > 1 else -1]
            here = spans.plane(batch, head).expand((1, 1, b.grid.q_len))
            left = here.planes_starts[0, 0, 0] < here.kv_len
            covered += int(left.sum())
            for segment in find_segments(here, _SEGMENT_ROWS, _SEGMENT_KEYS):
                segments.append([*lane, *segment])
                left[segment.q0 : segment.q1] = False
            cut = cut_tiles(here, np.flatnonzero(left), _HEIGHT, _CALL)
            tiles += [[*lane, *entry] for entry in _runs(book, [_tile(cut, t) for t in range(len(cut))])]
    tables = [np.array(t, dtype=np.int32).ravel() for t in (segments, tiles, book.patterns)]
    complete = covered == spans.shape[0] * spans.shape[1] * b.grid.q_len
    sizes = np.array([complete, len(segments), len(tiles), len(book.patterns)], dtype=np.int32)
    return torch.from_numpy(np.concatenate([sizes, *tables, *book.pieces]).astype(np.int32))


class _Book:
    """Lists of integers laid end to end, and the patterns among them, each written once."""

    def __init__(self) -> None:
        self.pieces: list[Int32s] = []
        self.at = 0
        self.patterns: list[list[int]] = []
        self.seen: dict[tuple[int, int, bytes], int] = {}

    def write(self, values: npt.NDArray[np.integer]) -> int:
        """Where they stand from now on."""
        self.pieces.append(values.astype(np.int32).ravel())
        self.at += values.size
        return self.at - values.size

    def pattern(self, height: int, width: int, starts: npt.NDArray[np.integer], ends: npt.NDArray[np.integer]) -> int:
        """Its number, -1 where nothing is masked."""
        if not width:
            return -1
        number = self.seen.setdefault((height, width, starts.tobytes() + ends.tobytes()), len(self.patterns))
        if number == len(self.patterns):
            self.patterns.append([len(starts), height, width, self.write(np.stack([starts, ends]))])
        return number


def _runs(book: _Book, tiles: Sequence[_Cut]) -> Iterator[list[int]]:
    """The tiles' entries; those that only lie further on, by steady steps, share one."""
    alike: dict[tuple[int, int, bytes, bytes, int], list[_Cut]] = {}
    for number, (rows, keys, masked, starts, ends) in enumerate(tiles):
        pattern = book.pattern(len(rows), int((masked[:, 1] - masked[:, 0]).sum()), starts, ends)
        lone = len(keys) > _MOST_RANGES or not bool((np.diff(rows) == 1).all())
        name = (pattern, len(rows), (keys[:, 1] - keys[:, 0]).tobytes(), masked.tobytes(), number if lone else -1)
        alike.setdefault(name, []).append((rows, keys, masked, starts, ends))
    for (pattern, *_), members in alike.items():
        # where each begins: its first row, then the first key of each range
        begins = np.array([[rows[0], *keys[:, 0]] for rows, keys, *_ in members], dtype=np.int64)
        steps = np.diff(begins, axis=0)
        first = 0
        while first < len(members):
            last = first + 1
            while last < len(members) and (steps[last - 1] == steps[first]).all() and (steps[first] >= 0).all():
                last += 1
            step = steps[first] if last - first > 1 else np.zeros_like(begins[0])
            rows, keys, masked, *_ = members[first]
            contiguous = bool((np.diff(rows) == 1).all())
            where = [int(rows[0]), -1] if contiguous else [-1, book.write(rows)]
            yield [
                *where, len(rows), len(keys), book.write(keys), len(masked), book.write(masked), pattern,
                last - first, int(step[0]), book.write(step[1:]),
            ]  # fmt: skip
            first = last


def _tile(cut: Tiles, t: int) -> _Cut:
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
    values = np.frombuffer(content, dtype=np.int32)
    complete, *counts = values[:4].tolist()
    at = 4
    tables: list[list[list[int]]] = []
    for count, columns in zip(counts, (7, 13, 4), strict=True):
        tables.append(values[at : at + count * columns].reshape(count, columns).tolist())
        at += count * columns
    data = values[at:]
    return Schedule(
        [(b, h, Segment(q0, q1, k0, k1, bool(causal))) for b, h, q0, q1, k0, k1, causal in tables[0]],
        [_read_tile(data, *entry) for entry in tables[1]],
        [_read_pattern(data, *entry) for entry in tables[2]],
        bool(complete),
    )


def _read_tile(
    data: Int32s, b: int, h: int, q0: int, rows_at: int, height: int, n_keys: int, keys_at: int, n_masked: int,
    masked_at: int, pattern: int, repeats: int, row_step: int, steps_at: int,
) -> Tile:  # fmt: skip
    rows = slice(q0, q0 + height) if q0 >= 0 else torch.from_numpy(data[rows_at : rows_at + height].astype(np.int64))
    pairs = data[keys_at : keys_at + 2 * n_keys].reshape(n_keys, 2)
    width = int((pairs[:, 1] - pairs[:, 0]).sum())
    keys: list[slice] | list[torch.Tensor]
    if n_keys <= _MOST_RANGES:
        steps = tuple(data[steps_at : steps_at + n_keys].tolist())
        keys = [slice(a, b) for a, b in pairs.tolist()]
    else:
        steps = (0,)
        lengths = (pairs[:, 1] - pairs[:, 0]).astype(np.int64)
        shift = pairs[:, 0] - (lengths.cumsum() - lengths)  # from a column to its key
        keys = [torch.from_numpy(np.arange(width) + np.repeat(shift, lengths))]
    masked = [slice(a, b) for a, b in data[masked_at : masked_at + 2 * n_masked].reshape(n_masked, 2).tolist()]
    return Tile(b, h, rows, height, keys, width, masked, pattern, repeats, row_step, steps)


def _read_pattern(data: Int32s, runs: int, height: int, width: int, at: int) -> Pattern:
    starts, ends = data[at : at + 2 * runs * height].reshape(2, runs, height).copy()
    return Pattern(torch.from_numpy(starts), torch.from_numpy(ends), width)
