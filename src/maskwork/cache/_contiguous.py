"""`KVCache`: keys and values of every layer in one preallocated block of memory."""

from __future__ import annotations

import torch

from .._shared.numbers import at_least, between, side
from ..errors import ArgumentError


class KVCache:
    """Keys and values at absolute positions `[0, length)`, for every layer.

    Args:
        layers: number of attention layers.
        batch: sequences that are decoded together.
        kv_heads: key heads of each layer.
        capacity: most positions that the cache can hold.
        head_dim: width of one head.
        dtype, device: of the tensors.

    A model appends each layer's new keys and values, attends over what `append` returns, and calls `advance` once
    after its last layer; until then `length` stays, so every layer writes at the same positions:

        position     0 1 2 3 4 5 6 7
        layer 0      x x x x n n . .     x cached, n new (written by `append`), . free
        layer 1      x x x x . . . .     not yet appended: `length` is still 4

    >>> import torch
    >>> from maskwork.cache import KVCache
    >>> cache = KVCache(layers=1, batch=1, kv_heads=1, capacity=4, head_dim=2)
    >>> k, v = cache.append(0, torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    >>> cache.advance(3)
    >>> k.shape, cache.length
    (torch.Size([1, 1, 3, 2]), 3)
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        sizes = {"layers": layers, "batch": batch, "kv_heads": kv_heads, "capacity": capacity, "head_dim": head_dim}
        shape = tuple(side(length, 0, name) for name, length in sizes.items())
        # Zeros, not garbage: a NaN left in unused memory could reach a product with weight 0.
        self._k = torch.zeros(shape, dtype=dtype, device=device)
        self._v = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    @property
    def capacity(self) -> int:
        """Most positions that the cache can hold."""
        return self._k.shape[3]

    @property
    def batch(self) -> int:
        """Number of sequences that are decoded together."""
        return self._k.shape[1]

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write `(B, Hkv, L, D)` after the cached positions.

        Returns:
            the keys and values of all positions, `(B, Hkv, length + L, D)` each: views, which later calls overwrite.

        Raises:
            ArgumentError: the cache has no such layer, or the positions exceed the capacity.
        """
        layer = between(layer, 0, len(self._k) - 1, "layer")
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ArgumentError(
                f"a cache holds {self.capacity} positions, got {k.shape[2]} more after {self.length}; "
                "make it with a larger capacity"
            )
        # Views of one allocation: no layer copies the keys that are cached already.
        self._k[layer, :, :, self.length : end] = k
        self._v[layer, :, :, self.length : end] = v
        return self._k[layer, :, :, :end], self._v[layer, :, :, :end]

    def advance(self, count: int) -> None:
        """Add `count` to `length`, once every layer has appended that many positions."""
        self.length += at_least(count, 0, "count")
