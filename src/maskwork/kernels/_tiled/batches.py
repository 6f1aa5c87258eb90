"""Equal tiles in one batched product: one tile of several lanes, or the repeats of a tile within one lane.

A lane is a key head of a batch row. A batch is either a column or a row of this table:

                     lane 0    lane 1    lane 2
    tile, repeat 0     #         #         #       <- `along=False`: lanes [first, first + n)
    tile, repeat 1     #         #         #
    tile, repeat 2     #         #         #
                       ^
                       `along=True`: repeats [first, first + n) of one lane

Repeats of a window overlap in their keys, which are then read once from memory and several times from the cache:

    keys        0        8        16       24
    repeat 0    [________________]
    repeat 1             [________________]            shifted by `row_step` rows and `key_steps` keys
    repeat 2                      [________________]

A batch reads its rows and keys as one strided view, `x.as_strided((n, ...), (step from tile to tile, ...))`, so no
number is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .schedule import Tile

# Bytes of scores in one product: enough to be worth a call, and few enough to stay in the last-level cache while they
# are read and written.
_BYTES = 1 << 22

# Fewer rows multiply each range of keys separately: decoding would spend its time on copies.
_FEW_ROWS = 16


@dataclass(frozen=True)
class TileBatch:
    """Batch of `n` equal tiles.

    Attributes:
        tile: the tile of all lanes, or the first repeat.
        along: True: the repeats `[first, first + n)` of one lane. False: the same tile in lanes `[first, first + n)`.
        lane: the lane of the repeats.
        first, n: the range of repeats or lanes.
        number: distinguishes this batch from every other batch of the schedule.
    """

    tile: Tile
    along: bool
    lane: int
    first: int
    n: int
    number: int

    def view_rows(self, x: torch.Tensor) -> torch.Tensor:
        """View `(N, g, Q, ...)` as `(n, g, height, ...)`; a copy if the tile's rows are gathered."""
        rows, tile = self.tile.rows, self.tile
        if isinstance(rows, torch.Tensor):
            return x[self.first : self.first + self.n][:, :, rows]
        (_, groups, _, *shape), (by_lane, by_head, by_row, *strides) = x.shape, x.stride()
        begin, by_tile = self._offset_and_step(rows.start, tile.row_step, by_lane, by_row)
        return x.as_strided(
            (self.n, groups, tile.height, *shape), (by_tile, by_head, by_row, *strides), x.storage_offset() + begin
        )

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """Read `(N, g, Q, ...)` as `(n, g * height, ...)`."""
        return self.view_rows(x).flatten(1, 2)

    def put_rows(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """Write `values (n, g, height, ...)` into `x (N, g, Q, ...)`."""
        if isinstance(self.tile.rows, torch.Tensor):
            x[self.first : self.first + self.n][:, :, self.tile.rows] = values
        else:
            self.view_rows(x).copy_(values)

    def keys(self, x: torch.Tensor) -> torch.Tensor:
        """Read `(N, K, D)` as `(n, width, D)`: a view if the keys are one slice, else a copy."""
        pieces = self._pieces(x)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def few_keys(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Read `(N, K, D)` as `(n, width, D)` in one piece, or in views if the rows are too few to pay for a copy."""
        return self._pieces(x) if self.tile.height < _FEW_ROWS else [self.keys(x)]

    def _pieces(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Read the keys range by range, `(n, size, D)` each."""
        return [
            x[self.first : self.first + self.n].index_select(1, keys)
            if isinstance(keys, torch.Tensor)
            else self._keys(x, keys.start, keys.stop - keys.start, step)
            for keys, step in zip(self.tile.keys, self.tile.key_steps, strict=True)
        ]

    def add_keys(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """Add `values (n, width, D)` to the keys that `keys` reads."""
        for (keys, columns), step in zip(self.tile.columns(), self.tile.key_steps, strict=True):
            part = values[:, columns]
            size = part.shape[1]
            if isinstance(keys, torch.Tensor):
                x[self.first : self.first + self.n].index_add_(1, keys, part)
            elif not self.along or step >= size:
                self._keys(x, keys.start, size, step).add_(part)
            elif step == 0:
                x[self.lane].narrow(0, keys.start, size).add_(part.sum(0))
            else:
                # The windows of the repeats overlap, and an in-place addition must not write a number twice. Pieces of
                # one step do not overlap:   [aabb]      a: repeats 0, 1, ... at once
                #                              [aabb]    b: likewise, afterwards
                for low in range(0, size, step):
                    piece = min(step, size - low)
                    self._keys(x, keys.start + low, piece, step).add_(part.narrow(1, low, piece))

    def _keys(self, x: torch.Tensor, start: int, size: int, step: int) -> torch.Tensor:
        """View `(N, K, D)` as `(n, size, D)`."""
        by_lane, by_key, by_dim = x.stride()
        begin, by_tile = self._offset_and_step(start, step, by_lane, by_key)
        return x.as_strided((self.n, size, x.shape[2]), (by_tile, by_key, by_dim), x.storage_offset() + begin)

    def _offset_and_step(self, start: int, step: int, by_lane: int, by_row: int) -> tuple[int, int]:
        """Return the offset of the first tile, and the stride from tile to tile, in numbers of memory."""
        if self.along:
            return self.lane * by_lane + (start + self.first * step) * by_row, step * by_row
        return self.first * by_lane + start * by_row, by_lane


def batches(tile: Tile, number: int, lanes: int, groups: int, itemsize: int) -> Iterator[TileBatch]:
    """Yield batches that cover all repeats of `tile` in all lanes.

    Args:
        tile: with its repeats.
        number: of the tile's first repeat.
        lanes: number of lanes N.
        groups: query heads g of each lane.
        itemsize: bytes of a score.
    """
    most = max(_BYTES // max(groups * tile.height * tile.width * itemsize, 1), 1)
    # Along the sequence where that makes the larger batches.
    if tile.repeats > 1 and min(tile.repeats, most) >= min(lanes, most):
        for lane in range(lanes):
            for first, n in _split(tile.repeats, most):
                yield TileBatch(tile, True, lane, first, n, number + first)
        return
    for repeat in range(tile.repeats):
        for first, n in _split(lanes, most):
            yield TileBatch(tile.repeat(repeat), False, 0, first, n, number + repeat)


def _split(total: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield `(first, size)` of the fewest parts of at most `most`, as even as possible."""
    if total:
        size = -(-total // -(-total // most))
        for first in range(0, total, size):
            yield first, min(size, total - first)
