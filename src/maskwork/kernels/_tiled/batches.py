"""Equal tiles in one product: of several lanes, or, where a tile repeats along the sequence, of one lane.

Along the sequence a lane's keys are read while they are in the cache, by each of the tiles that overlap there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .schedule import Tile

# Scores that a product holds, in bytes: enough of them to be worth a call, and few enough to stay in the last-level
# cache while they are read and written.
_BYTES = 1 << 22

# Fewer rows read each range of keys by a product of its own: decoding would spend its time on copies.
_FEW_ROWS = 16


@dataclass(frozen=True)
class Batch:
    """`n` equal tiles.

    Args:
        tile: the tile of all of them, or the first of its repeats.
        along: whether they are the repeats `[first, first + n)` of one lane, or the same tile in lanes
            `[first, first + n)`.
        lane: which lane, where they lie along the sequence.
        number: tells this batch from every other of the schedule.
    """

    tile: Tile
    along: bool
    lane: int
    first: int
    n: int
    number: int

    def view_rows(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, g, Q, ...)` -> `(n, g, height, ...)`: a view, unless the tile's rows are gathered."""
        rows, tile = self.tile.rows, self.tile
        if isinstance(rows, torch.Tensor):
            return x[self.first : self.first + self.n][:, :, rows]
        (_, groups, _, *shape), (by_lane, by_head, by_row, *strides) = x.shape, x.stride()
        begin, by_tile = self._place(rows.start, tile.row_step, by_lane, by_row)
        return x.as_strided(
            (self.n, groups, tile.height, *shape), (by_tile, by_head, by_row, *strides), x.storage_offset() + begin
        )

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, g, Q, ...)` -> `(n, g * height, ...)`."""
        return self.view_rows(x).flatten(1, 2)

    def put_rows(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """`values (n, g, height, ...)` into `x (N, g, Q, ...)`."""
        if isinstance(self.tile.rows, torch.Tensor):
            x[self.first : self.first + self.n][:, :, self.tile.rows] = values
        else:
            self.view_rows(x).copy_(values)

    def keys(self, x: torch.Tensor) -> torch.Tensor:
        """`(N, K, D)` -> `(n, width, D)`: a view where the keys are one slice, else copied together."""
        pieces = self._pieces(x)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def few_keys(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The same in one piece, or, for rows too few to pay for a copy of their keys, as views."""
        return self._pieces(x) if self.tile.height < _FEW_ROWS else [self.keys(x)]

    def _pieces(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The same range by range, `(n, size, D)` each."""
        return [
            x[self.first : self.first + self.n].index_select(1, keys)
            if isinstance(keys, torch.Tensor)
            else self._keys(x, keys.start, keys.stop - keys.start, step)
            for keys, step in zip(self.tile.keys, self.tile.key_steps, strict=True)
        ]

    def add_keys(self, x: torch.Tensor, values: torch.Tensor) -> None:
        """Adds `values (n, width, D)` to the keys that `keys` reads."""
        for (keys, columns), step in zip(self.tile.columns(), self.tile.key_steps, strict=True):
            here = values[:, columns]
            size = here.shape[1]
            if isinstance(keys, torch.Tensor):
                x[self.first : self.first + self.n].index_add_(1, keys, here)
            elif not self.along or step >= size:
                self._keys(x, keys.start, size, step).add_(here)
            elif step == 0:
                x[self.lane].narrow(0, keys.start, size).add_(here.sum(0))
            else:  # windows overlap: added by pieces of a step, which do not
                for low in range(0, size, step):
                    piece = min(step, size - low)
                    self._keys(x, keys.start + low, piece, step).add_(here.narrow(1, low, piece))

    def _keys(self, x: torch.Tensor, start: int, size: int, step: int) -> torch.Tensor:
        """The view `(n, size, D)` of `(N, K, D)`."""
        by_lane, by_key, by_dim = x.stride()
        begin, by_tile = self._place(start, step, by_lane, by_key)
        return x.as_strided((self.n, size, x.shape[2]), (by_tile, by_key, by_dim), x.storage_offset() + begin)

    def _place(self, start: int, step: int, by_lane: int, by_row: int) -> tuple[int, int]:
        """Where the first tile begins, and how far on the next one does, in numbers of memory."""
        if self.along:
            return self.lane * by_lane + (start + self.first * step) * by_row, step * by_row
        return self.first * by_lane + start * by_row, by_lane


def batches(tile: Tile, number: int, lanes: int, groups: int, itemsize: int) -> Iterator[Batch]:
    """All repeats of `tile` in all lanes."""
    each = max(_BYTES // max(groups * tile.height * tile.width * itemsize, 1), 1)
    if tile.repeats > 1 and min(tile.repeats, each) >= min(lanes, each):
        for lane in range(lanes):
            for first, n in _split(tile.repeats, each):
                yield Batch(tile, True, lane, first, n, number + first)
        return
    for repeat in range(tile.repeats):
        for first, n in _split(lanes, each):
            yield Batch(tile.repeat(repeat), False, 0, first, n, number + repeat)


def _split(total: int, most: int) -> Iterator[tuple[int, int]]:
    """`(first, size)` of parts that are as even as can be."""
    if total:
        size = -(-total // -(-total // most))
        for first in range(0, total, size):
            yield first, min(size, total - first)
