"""Additive biases tile by tile: a dense tensor, or a table of distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .lanes import query_lanes
from .schedule import Tile


@dataclass(frozen=True)
class TileBias:
    """A bias that is read, and its gradient added up, by tiles.

    Args:
        values: `(B | 1, Hq | 1, Q | 1, K | 1)`, or, with `by_distance`, `(Hq, Q + K - 1)`, where index i is distance
            `k - q = i - (Q - 1)` in rows and keys of the grid.
        by_distance: which of the two.
        shape: `(B, Hq, Q, K)`.
        kv_heads: Hkv.
    """

    values: torch.Tensor
    by_distance: bool
    shape: tuple[int, int, int, int]
    kv_heads: int

    def of(self, tile: Tile, part: slice) -> torch.Tensor:
        """`(n, g, height, width)` of the tile's lanes `part`, and of no more: all lanes would be a dense bias."""
        batch_row, head = self._places(tile, part)
        if self.by_distance:
            return self.values[head.unsqueeze(-1).unsqueeze(-1), self._index(tile)]
        here = self.values if self.values.shape[2] == 1 else self.values[:, :, tile.rows]
        if self.values.shape[3] > 1:
            here = torch.cat([here[..., keys] for keys in tile.keys], dim=-1)
        here = here[batch_row if here.shape[0] > 1 else 0, head if here.shape[1] > 1 else 0]
        return here.expand(*head.shape, tile.height, tile.width)

    def add_gradient(self, out: torch.Tensor, tile: Tile, part: slice, d_scores: torch.Tensor) -> None:
        """Adds the gradient of the scores `(n, g * height, width)` of lanes `part` to `out`, shaped like `values`."""
        places = torch.stack(self._places(tile, part), -1).flatten(0, 1).tolist()
        lanes = d_scores.unflatten(1, (-1, tile.height)).flatten(0, 1)
        for lane, (b, h) in zip(lanes, places, strict=True):
            if self.by_distance:
                out[h].index_add_(0, self._index(tile).flatten(), lane.flatten())
                continue
            target = out[b if out.shape[0] > 1 else 0, h if out.shape[1] > 1 else 0]
            if target.shape[0] == 1:
                lane = lane.sum(0, keepdim=True)
            rows = tile.rows if target.shape[0] > 1 else slice(0, 1)
            for keys, columns in tile.columns():
                if target.shape[1] == 1:
                    _add(target, rows, slice(0, 1), lane[:, columns].sum(1, keepdim=True))
                else:
                    _add(target, rows, keys, lane[:, columns])

    def _places(self, tile: Tile, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch row and query head of each of the tile's lanes `part`, `(n, g)` both."""
        batch, heads = self.shape[:2]
        number = torch.arange(batch * heads).view(batch, heads)
        number = query_lanes(number, self.kv_heads, tile.batch, tile.head)[part]
        return number // max(heads, 1), number % max(heads, 1)

    def _index(self, tile: Tile) -> torch.Tensor:
        rows = _listed(tile.rows)
        keys = torch.cat([_listed(keys) for keys in tile.keys])
        return keys - rows.unsqueeze(1) + self.shape[2] - 1


def _listed(places: slice | torch.Tensor) -> torch.Tensor:
    return torch.arange(places.start, places.stop) if isinstance(places, slice) else places


def _add(out: torch.Tensor, rows: slice | torch.Tensor, keys: slice | torch.Tensor, values: torch.Tensor) -> None:
    out[_listed(rows).unsqueeze(1), _listed(keys)] += values
