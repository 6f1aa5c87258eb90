"""`Attention`: grouped-query self-attention under a mask."""

from __future__ import annotations

import torch
from torch import nn

from ..cache import KVCache
from ..errors import ArgumentError
from ..kernels import attention
from ..kernels.positions import rotate
from ..masks import BoundMask, Mask

# Suffixes say the axes: B batch, L new positions, W width, H query heads, G key heads, D head width.


class Attention(nn.Module):
    """Self-attention with `kv_heads` shared by groups of query heads (Ainslie et al. 2023).

    Args:
        width: model width W.
        heads: query heads; W is a multiple of it.
        kv_heads: key heads; `heads` is a multiple of it.

    >>> import torch, maskwork as mw
    >>> layer = mw.nn.Attention(16, heads=4, kv_heads=2)
    >>> layer(torch.zeros(1, 5, 16), mask=mw.causal()).shape
    torch.Size([1, 5, 16])
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        if width % heads or heads % kv_heads:
            raise ArgumentError(
                "width must be a multiple of heads and heads of kv_heads, "
                f"got width={width}, heads={heads}, kv_heads={kv_heads}"
            )
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, width // heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x_BLW: torch.Tensor,
        *,
        mask: Mask | BoundMask,
        rotary: tuple[torch.Tensor, torch.Tensor] | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
        impl: str = "auto",
    ) -> torch.Tensor:
        """`(B, L, W)` -> `(B, L, W)`.

        Args:
            x_BLW: the new positions.
            mask: over these L queries and, with a cache, over all `cache.length + L` keys.
            rotary: cosines and sines of the new positions, from `Rotary`.
            cache: where this layer's keys and values are kept, under `layer`.
            impl: see `mw.attention`.
        """
        qkv = self.qkv(x_BLW).unflatten(-1, (self.heads + 2 * self.kv_heads, self.head_dim)).transpose(1, 2)
        q_BHLD, k_BGLD, v_BGLD = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        if rotary is not None:
            q_BHLD, k_BGLD = rotate(q_BHLD, *rotary), rotate(k_BGLD, *rotary)
        q_start = None
        if cache is not None:
            q_start = cache.length if isinstance(mask, Mask) else None
            k_BGLD, v_BGLD = cache.append(layer, k_BGLD, v_BGLD)
        out_BHLD = attention(q_BHLD, k_BGLD, v_BGLD, mask, q_start=q_start, impl=impl)
        return self.out(out_BHLD.transpose(1, 2).flatten(-2))
