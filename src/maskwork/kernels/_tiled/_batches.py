"""Equal tiles in one product: of several lanes, or, where a tile repeats along the sequence, of one lane.

Both read and write lanes through the same four methods, n tiles at a time. Along the sequence a lane's keys are read
while they are in the cache, by each of the tiles that overlap there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ...lower import Tile

# Scores that a product holds, in bytes: enough of them to be worth a call, and few enough to stay in the last-level
# cache while they are read and written.
_BYTES = 1 << 22


@dataclass(frozen=True)
class AcrossLanes:
    """One tile of the lanes in `part`."""

    tile: Tile
    part: slice
    number: int

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, g, Q, ...)` -> `(n, g * height, ...)`; a view for a slice of one head a lane."""
        if x.shape[1] == 1:
            return x[self.part, 0, self.tile.rows]
        return x[self.part][:, :, self.tile.rows].flatten(1, 2)

    def put_rows(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """`values` as `rows` gives them, into `x`."""
        x[self.part][:, :, self.tile.rows] = values.unflatten(1, (x.shape[1], self.tile.height))

    def keys(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, K, D)` -> `(n, width, D)`: a view where the keys are one slice, else copied together."""
        x, keys = x[self.part], self.tile.keys
        if len(keys) > 1:
            return torch.cat([x[:, piece] for piece in keys], dim=1)
        return x[:, keys[0]] if isinstance(keys[0], slice) else x.index_select(1, keys[0])

    def add_keys(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """Adds `values` to the keys that `keys` reads."""
        x, at = x[self.part], 0
        for keys in self.tile.keys:
            size = keys.stop - keys.start if isinstance(keys, slice) else len(keys)
            here = values.narrow(1, at, size)
            if isinstance(keys, slice):
                x.narrow(1, keys.start, size).add_(here)
            else:
                x.index_add_(1, keys, here)
            at += size


@dataclass(frozen=True)
class AlongSequence:
    """Repeats `[first, first + n)` of one tile in one lane."""

    tile: Tile
    lane: int
    first: int
    n: int
    number: int

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """As for `AcrossLanes`."""
        return self._rows(x).flatten(1, 2)

    def put_rows(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """As for `AcrossLanes`."""
        self._rows(x).copy_(values.unflatten(1, (x.shape[1], self.tile.height)))

    def keys(self, x: torch.Tensor) -> torch.Tensor:
        """As for `AcrossLanes`."""
        pieces = [
            _windows(x[self.lane], 0, keys.start + self.first * step, keys.stop - keys.start, step, self.n)
            for keys, step in zip(self.tile.keys, self.tile.key_steps, strict=True)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def add_keys(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """As for `AcrossLanes`; windows that overlap are added by pieces of a step, which do not."""
        x, at = x[self.lane], 0
        for keys, step in zip(self.tile.keys, self.tile.key_steps, strict=True):
            size, start = keys.stop - keys.start, keys.start + self.first * step
            here = values.narrow(1, at, size)
            if step == 0:
                x.narrow(0, start, size).add_(here.sum(0))
            for low in range(0, size if step else 0, step or 1):
                piece = min(step, size - low)
                _windows(x, 0, start + low, piece, step, self.n).add_(here.narrow(1, low, piece))
            at += size

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        """The view `(n, g, height, ...)` of `(N, g, Q, ...)`."""
        step = self.tile.row_step
        windows = _windows(x[self.lane], 1, self.tile.rows.start + self.first * step, self.tile.height, step, self.n)
        return windows.transpose(0, 1)


Batch = AcrossLanes | AlongSequence


def batches(tile: Tile, number: int, lanes: int, groups: int, itemsize: int) -> Iterator[Batch]:
    """All repeats of `tile` in all lanes."""
    each = max(_BYTES // max(groups * tile.height * tile.width * itemsize, 1), 1)
    if tile.count > 1 and min(tile.count, each) >= min(lanes, each):
        for lane in range(lanes):
            for first, n in _split(tile.count, each):
                yield AlongSequence(tile, lane, first, n, number)
        return
    for repeat in range(tile.count):
        for first, n in _split(lanes, each):
            yield AcrossLanes(tile.repeat(repeat), slice(first, first + n), number + repeat)


def _split(total: int, most: int) -> Iterator[tuple[int, int]]:
    """`(first, size)` of parts that are as even as can be."""
    if total:
        size = -(-total // -(-total // most))
        for first in range(0, total, size):
            yield first, min(size, total - first)


def _windows(x: torch.Tensor, dim: int, start: int, size: int, step: int, n: int) -> torch.Tensor:
    """The view of n windows of `size` along `dim`, `step` apart: `(..., n, size, ...)`."""
    if step == 0:
        return x.narrow(dim, start, size).unsqueeze(dim).expand(*x.shape[:dim], n, size, *x.shape[dim + 1 :])
    windows = x.narrow(dim, start, (n - 1) * step + size).unfold(dim, size, step)
    return windows.movedim(-1, dim + 1)
