"""The masks of a schedule's tiles, as numbers that are added to scores."""

from __future__ import annotations

from functools import lru_cache

import torch

from .schedule import Schedule, Tile

#: Most bytes of masks that are cached per schedule; masks beyond are computed again at each call.
_MOST_BYTES = 1 << 24


class Masks:
    """Masks of the tiles of one schedule, computed on first use and cached. Callers never write into them."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._cache: dict[tuple[object, ...], tuple[tuple[slice, torch.Tensor], ...]] = {}
        self._cached_bytes = 0

    def additive(self, tile: Tile, dtype: torch.dtype) -> tuple[tuple[slice, torch.Tensor], ...]:
        """Return ranges of columns, each with its mask `(height, columns)`: 0 where attention is allowed, else -inf."""
        if tile.pattern < 0:
            return ()
        # Two tiles may share a pattern and spread it over other columns.
        key = (dtype, tile.pattern, *((columns.start, columns.stop) for columns in tile.masked))
        masks = self._cache.get(key)
        if masks is None:
            allowed = self.schedule.patterns[tile.pattern].allowed()
            mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, float("-inf"))
            sizes = [columns.stop - columns.start for columns in tile.masked]
            masks = tuple(zip(tile.masked, (piece.contiguous() for piece in mask.split(sizes, 1)), strict=True))
            if self._cached_bytes + mask.nbytes <= _MOST_BYTES:
                self._cache[key] = masks
                self._cached_bytes += mask.nbytes
        return masks

    def allowed(self, tile: Tile) -> torch.Tensor:
        """Return bool `(height, width)` over all columns of a tile, True = may attend."""
        out = torch.ones(tile.height, tile.width, dtype=torch.bool)
        for columns, mask in self.additive(tile, torch.float32):
            out[:, columns] = mask == 0
        return out


@lru_cache(maxsize=16)
def masks_of(schedule: Schedule) -> Masks:
    """Return the masks of this schedule, the same object at every call."""
    return Masks(schedule)
