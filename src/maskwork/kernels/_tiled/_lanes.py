"""The tensors of one call, seen as independent lanes: each a key head with the query heads that share it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from ...lower import Schedule, Tile

# Scores that a step holds at once, in bytes: they are written and read four times, and should stay in the last-level
# cache while they are.
_STEP_BYTES = 1 << 22

#: Memory for masks that are kept between calls, per schedule; beyond it they are made again.
_MASK_BYTES = 1 << 26


class Lanes(NamedTuple):
    """What one tile works on: `q (N, g, Q, D)`, `k (N, K, D)`, `v (N, K, Dv)`, g query heads a key head."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor


def query_lanes(x: torch.Tensor, kv_heads: int, batch: int, head: int) -> torch.Tensor:
    """`(B, Hq, ...)` -> `(N, g, ...)` of this batch row and query head, -1 for all; a view where strides allow."""
    grouped = x.unflatten(1, (kv_heads, -1))
    if head >= 0:
        groups = grouped.shape[2]
        grouped = grouped[:, head // groups, head % groups].unsqueeze(1).unsqueeze(1)
    if batch >= 0:
        return grouped[batch]
    return grouped.squeeze(1) if grouped.shape[1] == 1 else grouped.flatten(0, 1)


def key_lanes(x: torch.Tensor, query_heads: int, batch: int, head: int) -> torch.Tensor:
    """`(B, Hkv, K, D)` -> `(N, K, D)`, likewise."""
    if head >= 0:
        x = x.narrow(1, head // (query_heads // x.shape[1]), 1)
    if batch >= 0:
        return x[batch]
    return x.squeeze(1) if x.shape[1] == 1 else x.flatten(0, 1)


@dataclass
class Masks:
    """The masks of a schedule's tiles, made when they are first needed."""

    schedule: Schedule
    kept: dict[tuple[object, ...], list[tuple[slice, torch.Tensor]]] = field(default_factory=dict)
    bytes: int = 0

    def additive(self, tile: Tile, dtype: torch.dtype) -> list[tuple[slice, torch.Tensor]]:
        """Columns, and what to add there `(height, columns)`: 0 where attention is allowed, -inf elsewhere."""
        if tile.pattern < 0:
            return []
        key = (dtype, tile.pattern, *(columns.start for columns in tile.masked))
        found = self.kept.get(key)
        if found is None:
            allowed = self.schedule.patterns[tile.pattern].allowed()
            mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, float("-inf"))
            sizes = [columns.stop - columns.start for columns in tile.masked]
            found = list(zip(tile.masked, (piece.contiguous() for piece in mask.split(sizes, 1)), strict=True))
            if self.bytes + mask.nbytes <= _MASK_BYTES:
                self.kept[key] = found
                self.bytes += mask.nbytes
        return found

    def allowed(self, tile: Tile) -> torch.Tensor:
        """bool `(height, width)` over all columns of a tile."""
        out = torch.ones(tile.height, tile.width, dtype=torch.bool)
        for columns, mask in self.additive(tile, torch.float32):
            out[:, columns] = mask == 0
        return out


def steps(lanes: int, cells: int, itemsize: int) -> Iterator[slice]:
    """Lanes by as many as a step's memory holds, `cells` scores each."""
    if not lanes:
        return
    each = max(_STEP_BYTES // max(cells * itemsize, 1), 1)
    each = -(-lanes // -(-lanes // each))  # as even as can be, for the threads that share a step
    for first in range(0, lanes, each):
        yield slice(first, min(first + each, lanes))


def take_rows(x: torch.Tensor, rows: slice | torch.Tensor) -> torch.Tensor:
    """`(n, g, Q, ...)` -> `(n, g * height, ...)`; a view for a slice of one head a lane."""
    if isinstance(rows, slice) and x.shape[1] == 1:
        return x.squeeze(1)[:, rows]
    return x[:, :, rows].flatten(1, 2)


def columns_of(tile: Tile) -> Iterator[tuple[slice | torch.Tensor, slice]]:
    """The tile's keys, piece by piece, each with the columns where it stands."""
    at = 0
    for keys in tile.keys:
        size = keys.stop - keys.start if isinstance(keys, slice) else len(keys)
        yield keys, slice(at, at + size)
        at += size
