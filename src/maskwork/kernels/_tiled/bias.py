"""Additive biases tile by tile: a dense tensor, or a table of distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .lanes import query_lanes
from .schedule import Tile


@dataclass(frozen=True)
class TileBias:
    """Bias that is read, and whose gradient is accumulated, tile by tile.

    Attributes:
        values: `(B | 1, Hq | 1, Q | 1, K | 1)`, or, with `by_distance`, `(B | 1, Hq, Q + K - 1)`, where index i is
            distance `k - q = i - (Q - 1)` in rows and keys of the grid.
        by_distance: which of the two layouts.
        shape: `(B, Hq, Q, K)`.
        kv_heads: Hkv.
    """

    values: torch.Tensor
    by_distance: bool
    shape: tuple[int, int, int, int]
    kv_heads: int

    def read(self, tile: Tile, lanes: slice) -> torch.Tensor:
        """Return the bias `(n, g, height, width)` of these lanes alone: the bias of all lanes may be a dense one."""
        batch_row, head = self._batch_and_head(tile, lanes)
        if self.by_distance:
            row, column = (index.unsqueeze(-1).unsqueeze(-1) for index in (batch_row, head))
            return self.values[row if len(self.values) > 1 else 0, column, self._index(tile)]
        bias = self.values if self.values.shape[2] == 1 else self.values[:, :, tile.rows]
        if self.values.shape[3] > 1:
            bias = torch.cat([bias[..., keys] for keys in tile.keys], dim=-1)
        bias = bias[batch_row if bias.shape[0] > 1 else 0, head if bias.shape[1] > 1 else 0]
        return bias.expand(*head.shape, tile.height, tile.width)

    def add_gradient(self, out: torch.Tensor, tile: Tile, lanes: slice, d_scores: torch.Tensor) -> None:
        """Add the gradient of the scores `(n, g * height, width)` of these lanes to `out`, shaped like `values`."""
        heads = torch.stack(self._batch_and_head(tile, lanes), -1).flatten(0, 1).tolist()
        gradients = d_scores.unflatten(1, (-1, tile.height)).flatten(0, 1)
        for gradient, (b, h) in zip(gradients, heads, strict=True):
            if self.by_distance:
                out[b if len(out) > 1 else 0, h].index_add_(0, self._index(tile).flatten(), gradient.flatten())
                continue
            target = out[b if out.shape[0] > 1 else 0, h if out.shape[1] > 1 else 0]
            # A bias that is broadcast along queries or keys gets the sum over them.
            if target.shape[0] == 1:
                gradient = gradient.sum(0, keepdim=True)
            rows = tile.rows if target.shape[0] > 1 else slice(0, 1)
            for keys, columns in tile.columns():
                if target.shape[1] == 1:
                    _add(target, rows, slice(0, 1), gradient[:, columns].sum(1, keepdim=True))
                else:
                    _add(target, rows, keys, gradient[:, columns])

    def _batch_and_head(self, tile: Tile, lanes: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch row and the query head of each of the tile's lanes `lanes`, `(n, g)` both."""
        batch, heads = self.shape[:2]
        number = torch.arange(batch * heads).view(batch, heads)
        number = query_lanes(number, self.kv_heads, tile.batch, tile.head)[lanes]
        return number // max(heads, 1), number % max(heads, 1)

    def _index(self, tile: Tile) -> torch.Tensor:
        """Return the index into the table of distances of each cell, `(height, width)`."""
        rows = _indices(tile.rows)
        keys = torch.cat([_indices(keys) for keys in tile.keys])
        return keys - rows.unsqueeze(1) + self.shape[2] - 1


def _indices(positions: slice | torch.Tensor) -> torch.Tensor:
    return torch.arange(positions.start, positions.stop) if isinstance(positions, slice) else positions


def _add(out: torch.Tensor, rows: slice | torch.Tensor, keys: slice | torch.Tensor, values: torch.Tensor) -> None:
    out[_indices(rows).unsqueeze(1), _indices(keys)] += values
