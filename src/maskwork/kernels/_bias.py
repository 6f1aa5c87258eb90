"""`PositionBias`: an additive bias on the scores that depends on the head and on the distance k - q alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .._shared.numbers import LARGEST_SIZE, integer, side
from ..masks import QStart


class PositionBias(ABC):
    """Bias on the scores for `mw.attention(bias=…)`; `mw.alibi` and `mw.relative_bias` return one.

    Queries and keys have the positions of the mask's grid: queries begin at its `q_start`, or at one start for each
    batch row, and those that `select` chose have the positions that it chose. A grid whose `q_start` nobody gave has
    no positions, and is refused.

    >>> import maskwork as mw
    >>> mw.alibi(2).dense(q_start=1, q_len=1, kv_len=3)[0, :, 0]
    tensor([[-0.0625,  0.0000, -0.0625],
            [-0.0039,  0.0000, -0.0039]])
    """

    @property
    @abstractmethod
    def heads(self) -> int:
        """Number of query heads H."""

    @property
    def batch(self) -> int:
        """Number of batch rows B, 1 where the bias is the same for all."""
        return 1

    @abstractmethod
    def of_distances(self, distances: torch.Tensor) -> torch.Tensor:
        """Compute the bias `(H, N)`, or `(B, H, N)`, of the distances `k - q`, int64 `(N,)`, on their device."""

    def by_distance(self, q_start: QStart, q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return `(H, q_len + kv_len - 1)`: entry `[h, i]` is head h's bias at `k - q = i - (q_start + q_len - 1)`.

        The table has one entry for each distance between queries `[q_start, q_start + q_len)` and keys `[0, kv_len)`:

            key      0   1   2          q_start=1, q_len=2, kv_len=3
            query 1 -1   0   1
            query 2 -2  -1   0          distances of the table: -2 -1 0 1

        Where batch rows have a bias or a start of their own, the result is `(B, H, q_len + kv_len - 1)`.
        """
        q_len, kv_len = side(q_len, 0, "q_len"), side(kv_len, 0, "kv_len")
        size = max(q_len + kv_len - 1, 0)
        if not isinstance(q_start, tuple):
            smallest = 1 - _start(q_start) - q_len  # the last query and the first key
            return self.of_distances(torch.arange(smallest, smallest + size, device=device))
        # One table for all starts, of which each batch row has a part.
        starts = [_start(start) for start in q_start]
        smallest = 1 - max(starts) - q_len
        table = self.of_distances(torch.arange(smallest, smallest + size + max(starts) - min(starts), device=device))
        first = torch.tensor([max(starts) - start for start in starts], device=device)
        index = first[:, None] + torch.arange(size, device=device)
        if table.ndim == 2:
            return table[:, index].transpose(0, 1)
        return table.gather(2, index[:, None].expand(-1, table.shape[1], -1))

    def dense(self, q_start: QStart, q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return the bias of each cell, `(1, H, q_len, kv_len)`, or `(B, …)` where batch rows differ."""
        q_len, kv_len = side(q_len, 0, "q_len"), side(kv_len, 0, "kv_len")
        table = self.by_distance(q_start, q_len, kv_len, device)
        table = table if table.ndim == 3 else table.unsqueeze(0)
        if not q_len or not kv_len:
            return table.new_zeros(table.shape[0], self.heads, q_len, kv_len)
        # Window i of kv_len distances belongs to the i-th query from the last.
        return table.unfold(-1, kv_len, 1).flip(2)

    def at(self, q_positions: torch.Tensor, k_positions: torch.Tensor) -> torch.Tensor:
        """Return the bias of queries and keys at any positions: `(B, H, Q, K)`, of int64 `(B, Q)` and `(B, K)`.

        >>> import torch, maskwork as mw
        >>> mw.alibi(1).at(torch.tensor([[9]]), torch.tensor([[5, 9, 8]])).flatten().tolist()
        [-0.015625, 0.0, -0.00390625]
        """
        distances = k_positions.unsqueeze(1) - q_positions.unsqueeze(2)
        values, index = distances.unique(return_inverse=True)
        table = self.of_distances(values)
        if table.ndim == 2:
            return table[:, index].transpose(0, 1)
        index = index.expand(table.shape[0], -1, -1)
        return table.gather(2, index.flatten(1)[:, None].expand(-1, table.shape[1], -1)).unflatten(2, index.shape[1:])


def _start(q_start: int) -> int:
    """Return a start as an int, after checking that positions reach no further than a tensor."""
    return integer(q_start, "q_start", minimum=-LARGEST_SIZE, maximum=LARGEST_SIZE)


def describe(value: object) -> str:
    """Return dtype and shape of a tensor, or the `repr` of another value, for a message."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
