"""The masks of a schedule's tiles, as what is added to scores."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .schedule import Schedule, Tile

#: Memory for masks that are kept between calls, per schedule; beyond it they are made again.
_KEPT_BYTES = 1 << 24


@dataclass
class Masks:
    """Made when they are first needed, and kept with the schedule."""

    schedule: Schedule
    kept: dict[tuple[object, ...], list[tuple[slice, torch.Tensor]]] = field(default_factory=dict)
    bytes: int = 0

    @staticmethod
    def of(schedule: Schedule) -> Masks:
        """Those of this schedule, the same on every call."""
        return schedule.__dict__.setdefault("masks", Masks(schedule))

    def additive(self, tile: Tile, dtype: torch.dtype) -> list[tuple[slice, torch.Tensor]]:
        """Columns, and what to add there `(height, columns)`: 0 where attention is allowed, -inf elsewhere."""
        if tile.pattern < 0:
            return []
        key = (dtype, tile.pattern, *((columns.start, columns.stop) for columns in tile.masked))
        found = self.kept.get(key)
        if found is None:
            allowed = self.schedule.patterns[tile.pattern].allowed()
            mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, float("-inf"))
            sizes = [columns.stop - columns.start for columns in tile.masked]
            found = list(zip(tile.masked, (piece.contiguous() for piece in mask.split(sizes, 1)), strict=True))
            if self.bytes + mask.nbytes <= _KEPT_BYTES:
                self.kept[key] = found
                self.bytes += mask.nbytes
        return found

    def allowed(self, tile: Tile) -> torch.Tensor:
        """bool `(height, width)` over all columns of a tile."""
        out = torch.ones(tile.height, tile.width, dtype=torch.bool)
        for columns, mask in self.additive(tile, torch.float32):
            out[:, columns] = mask == 0
        return out
