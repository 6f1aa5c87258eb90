"""`Attention`: multi-head and grouped-query attention under a mask, to itself or to a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._shared.numbers import side
from ..cache import KVCache
from ..errors import ArgumentError
from ..kernels import PositionBias, attention
from ..masks import BoundMask, Mask
from ._precomputed import PrecomputedMask
from ._rotary import rotate

# Suffixes say the axes: B batch, L new positions, W width, C context positions, X context width, H query heads,
# G key heads, D head width.


class Attention(nn.Module):
    """Attention with learned projections. Mask, positions and cache are arguments of `forward`, never hidden state.

    Self-attention has one product `qkv` for queries, keys and values; with a `context_width` the module does
    cross-attention, and has `q` and `kv`. Both have `out`.

    Args:
        width: width W of the input and the output.
        heads: query heads H.
        kv_heads: key heads G, each shared by a group of query heads (grouped-query attention, Ainslie et al. 2023);
            `heads` is a multiple of `kv_heads`, which defaults to `heads`.
        head_dim: width D of one head; `width // heads` when left out.
        context_width: width X of the context that keys and values are computed from; given, the module does
            cross-attention.
        bias: whether the projections add a learned bias.
        scale: factor on the scores; `head_dim ** -0.5` when left out.
        dropout_p: chance that an attention weight is dropped, while training.
        precompute: `(mask, max_len)`: the mask that `forward` uses when the caller passes none, stored as buffers for
            up to `max_len` positions. The buffers move with `.to()` and are cut to the current length.
        persistent: whether those buffers go into `state_dict`.

    Raises:
        ArgumentError: widths and heads do not fit.

    >>> import torch, maskwork as mw
    >>> layer = mw.nn.Attention(16, heads=4, kv_heads=2)
    >>> layer(torch.zeros(1, 5, 16), mask=mw.causal()).shape
    torch.Size([1, 5, 16])
    >>> kept = mw.nn.Attention(16, heads=4, precompute=(mw.causal() & mw.sliding_window(128), 1024))
    >>> kept(torch.zeros(1, 5, 16), bias=mw.alibi(4)).shape
    torch.Size([1, 5, 16])
    >>> cross = mw.nn.Attention(16, heads=4, context_width=24)
    >>> cross(torch.zeros(2, 5, 16), context=torch.zeros(2, 7, 24), mask=mw.padding([7, 3])).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        *,
        head_dim: int | None = None,
        context_width: int | None = None,
        bias: bool = False,
        scale: float | None = None,
        dropout_p: float = 0.0,
        precompute: tuple[Mask, int] | None = None,
        persistent: bool = False,
    ) -> None:
        super().__init__()
        width, heads = side(width, 1, "width"), side(heads, 1, "heads")
        kv_heads = heads if kv_heads is None else side(kv_heads, 1, "kv_heads")
        if heads % kv_heads or (head_dim is None and width % heads):
            raise ArgumentError(
                "width must be a multiple of heads, unless head_dim is given, and heads of kv_heads, "
                f"got width={width}, heads={heads}, kv_heads={kv_heads}"
            )
        head_dim = width // heads if head_dim is None else side(head_dim, 1, "head_dim")
        context_width = None if context_width is None else side(context_width, 1, "context_width")
        self.width, self.heads, self.kv_heads, self.head_dim = width, heads, kv_heads, head_dim
        self.context_width, self.scale, self.dropout_p = context_width, scale, dropout_p
        # One product for queries, keys and values is faster than three; a context has its own width, so there are two.
        if context_width is None:
            self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * head_dim, bias=bias)
        else:
            self.q = nn.Linear(width, heads * head_dim, bias=bias)
            self.kv = nn.Linear(context_width, 2 * kv_heads * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, width, bias=bias)
        self.precomputed = None if precompute is None else PrecomputedMask(*precompute, persistent=persistent)

    def forward(
        self,
        x_BLW: torch.Tensor,
        *,
        context: torch.Tensor | None = None,
        mask: Mask | BoundMask | None = None,
        q_start: Any = None,
        rotary: tuple[torch.Tensor, torch.Tensor] | None = None,
        context_rotary: tuple[torch.Tensor, torch.Tensor] | None = None,
        bias: torch.Tensor | PositionBias | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
        impl: str = "auto",
        attend: Callable[..., torch.Tensor] = attention,
    ) -> torch.Tensor:
        """Attend from `x_BLW`, `(B, L, W)`, to itself, the cache or the context; return `(B, L, W)`.

        Args:
            x_BLW: the new positions.
            context: `(B, C, X)`, which cross-attention attends to. With a cache, pass the context once: later calls
                without a context attend to the keys and values in the cache.
            mask: over these L queries and all keys: those of the cache followed by the L new ones, or the context's.
                When left out, the precomputed mask, or none.
            q_start: absolute position of the first query, or one for each batch row. Self-attention continues from the
                cache's length; cross-attention needs `q_start` where the mask or the bias depends on it.
            rotary: cosines and sines of the new positions, from `Rotary`.
            context_rotary: those of the context's positions; cross-attention takes both or neither.
            bias: `mw.alibi(…)`, `mw.relative_bias(…)` or a tensor, added to the scores.
            cache: where this layer's keys and values are stored, under `layer`. The caller advances the cache.
            impl: see `mw.attention`.
            attend: the function that is called in place of `mw.attention`, with the same arguments: pass a wrapper to
                observe queries, keys and mask.

        Raises:
            ArgumentError: shapes do not fit, or cross-attention lacks its context, or self-attention got a context, or
                the grid reaches beyond the precomputed mask. Further errors as in `mw.attention`.
        """
        _check_width("x", x_BLW, self.width)
        if self.context_width is None:
            if context is not None or context_rotary is not None:
                raise ArgumentError(
                    "this module was made for self-attention, got a context; make it with context_width="
                )
            q_BHLD, k_BGCD, v_BGCD = self._heads(self.qkv(x_BLW)).split([self.heads, self.kv_heads, self.kv_heads], 1)
            context_rotary = rotary
            # The new queries come after the cached positions; a bound mask has its own q_start.
            if cache is not None and q_start is None and not isinstance(mask, BoundMask):
                q_start = cache.length
        else:
            q_BHLD = self._heads(self.q(x_BLW))
            k_BGCD, v_BGCD = self._heads(self.kv(self._context(context, x_BLW, cache))).chunk(2, 1)
            if (rotary is None) != (context_rotary is None):
                raise ArgumentError(
                    "cross-attention turns queries by rotary and keys by context_rotary, got one; pass both or neither"
                )
        if rotary is not None and context_rotary is not None:
            q_BHLD, k_BGCD = rotate(q_BHLD, *rotary), rotate(k_BGCD, *context_rotary)
        if cache is not None:
            k_BGCD, v_BGCD = cache.append(layer, k_BGCD, v_BGCD)
        # After the cache: the mask is over all keys, cached and new.
        if mask is None and self.precomputed is not None:
            batch, q_len, kv_len = max(x_BLW.shape[0], 1), q_BHLD.shape[2], k_BGCD.shape[2]
            mask = self.precomputed(q_len, kv_len, q_start=q_start, batch=batch, heads=self.heads)
            q_start = None  # a bound mask has its own
        out_BHLD = attend(
            q_BHLD, k_BGCD, v_BGCD, mask,
            q_start=q_start, bias=bias, scale=self.scale, dropout_p=self.dropout_p if self.training else 0.0, impl=impl,
        )  # fmt: skip
        return self.out(out_BHLD.transpose(1, 2).flatten(-2))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Split `(B, L, heads * D)` into heads: `(B, heads, L, D)`."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _context(self, context: torch.Tensor | None, x_BLW: torch.Tensor, cache: KVCache | None) -> torch.Tensor:
        """Return the context `(B, C, X)`, empty where the cache holds it."""
        assert self.context_width is not None
        if context is not None:
            _check_width("context", context, self.context_width)
            return context
        if cache is None:
            raise ArgumentError("cross-attention needs a context, got none; pass context=, or a cache that holds it")
        return x_BLW.new_empty(x_BLW.shape[0], 0, self.context_width)  # no new keys: the cache has them all


def _check_width(name: str, x: torch.Tensor, width: int) -> None:
    if x.ndim != 3 or x.shape[-1] != width:
        raise ArgumentError(
            f"{name} must be (batch, length, {width}), got {tuple(x.shape)}; add the axis, or fit the module's widths"
        )
