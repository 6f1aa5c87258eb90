"""`PositionBias`: an additive bias on the scores that depends on the head and on the distance k - q alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .._shared.numbers import side


class PositionBias(ABC):
    """Bias on the scores for `mw.attention(bias=…)`; `mw.alibi` and `mw.relative_bias` return one.

    Queries have the positions of the mask's grid: they begin at `q_start`, at 0 for a mask that was bound without one.

    >>> import maskwork as mw
    >>> mw.alibi(2).dense(q_start=1, q_len=1, kv_len=3)[0, :, 0]
    tensor([[-0.0625, -0.0000, -0.0625],
            [-0.0039, -0.0000, -0.0039]])
    """

    @property
    @abstractmethod
    def heads(self) -> int:
        """Number of query heads H."""

    @abstractmethod
    def of_distances(self, distances: torch.Tensor) -> torch.Tensor:
        """Compute the bias `(H, N)` of the distances `k - q`, int64 `(N,)`, on their device."""

    def by_distance(self, q_start: int, q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return `(H, q_len + kv_len - 1)`: entry `[h, i]` is head h's bias at `k - q = i - (q_start + q_len - 1)`.

        The table has one entry for each distance between queries `[q_start, q_start + q_len)` and keys `[0, kv_len)`:

            key      0   1   2          q_start=1, q_len=2, kv_len=3
            query 1 -1   0   1
            query 2 -2  -1   0          distances of the table: -2 -1 0 1
        """
        q_start, q_len, kv_len = _sizes(q_start, q_len, kv_len)
        smallest = 1 - q_start - q_len  # the last query and the first key
        return self.of_distances(torch.arange(smallest, smallest + max(q_len + kv_len - 1, 0), device=device))

    def dense(self, q_start: int, q_len: int, kv_len: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return the bias of each cell, `(1, H, q_len, kv_len)`."""
        q_start, q_len, kv_len = _sizes(q_start, q_len, kv_len)
        table = self.by_distance(q_start, q_len, kv_len, device)
        if not q_len or not kv_len:
            return table.new_zeros(1, self.heads, q_len, kv_len)
        # Window i of kv_len distances belongs to the i-th query from the last.
        return table.unfold(-1, kv_len, 1).flip(1).unsqueeze(0)


def _sizes(q_start: int, q_len: int, kv_len: int) -> tuple[int, int, int]:
    """Return where a grid lies as `int`s, or raise `ArgumentError`."""
    return side(q_start, 0, "q_start"), side(q_len, 0, "q_len"), side(kv_len, 0, "kv_len")


def describe(value: object) -> str:
    """Return dtype and shape of a tensor, or the `repr` of another value, for a message."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
