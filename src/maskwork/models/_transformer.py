"""The decoder: pre-norm RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied head.

tokens -> embedding -> [ norm -> attention -> + , norm -> feed-forward -> + ] x layers -> norm -> head -> logits
"""

from __future__ import annotations

import torch
from torch import nn

from ..cache import KVCache
from ..errors import ArgumentError
from ..lower import bind_outside_graph
from ..masks import BoundMask, Mask, parse
from ..nn import Attention, Rotary, SwiGLU
from ._config import ModelConfig

# Suffixes name the axes: B batch, L new positions, W width, V vocabulary.


class Block(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.attention = Attention(config.width, config.heads, config.kv_heads)
        self.feed_forward_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.feed_forward = SwiGLU(config.width, config.hidden)

    def forward(
        self,
        x_BLW: torch.Tensor,
        *,
        mask: BoundMask,
        rotary: tuple[torch.Tensor, torch.Tensor],
        cache: KVCache | None,
        layer: int,
    ) -> torch.Tensor:
        """Compute the layer, `(B, L, W)` -> `(B, L, W)`."""
        x_BLW = x_BLW + self.attention(self.attention_norm(x_BLW), mask=mask, rotary=rotary, cache=cache, layer=layer)
        return x_BLW + self.feed_forward(self.feed_forward_norm(x_BLW))


class Transformer(nn.Module):
    """A decoder that takes its mask as an argument: there is no triangle inside.

    >>> import torch, maskwork as mw
    >>> config = mw.models.ModelConfig(vocab_size=50, layers=2, width=32, heads=4, kv_heads=2, hidden=64, context=16)
    >>> model = mw.models.Transformer(config)
    >>> model(torch.zeros(1, 8, dtype=torch.long)).shape
    torch.Size([1, 8, 50])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.mask = parse(config.mask)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.rotary = Rotary(config.head_dim, config.context, config.rope_theta)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw normal weights that keep the scale of the activations at any width (LeCun et al. 1998).

        Matrices that add to the residual stream are smaller by the root of their number (Radford et al. 2019).
        """
        residual = (2 * self.config.layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                nn.init.ones_(parameter)  # the norms' gains
            elif parameter is self.embedding.weight:
                nn.init.normal_(parameter, std=0.02, generator=generator)  # small, so that first logits are near 0
            else:
                deviation = parameter.shape[1] ** -0.5
                deviation *= residual if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=deviation, generator=generator)

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> KVCache:
        """Return an empty cache for this model, for `capacity` positions; the whole context when left out."""
        config, weight = self.config, self.embedding.weight
        capacity = config.context if capacity is None else capacity
        return KVCache(config.layers, batch, config.kv_heads, capacity, config.head_dim, weight.dtype, weight.device)

    def hidden(
        self,
        input_ids: torch.Tensor,
        *,
        mask: Mask | BoundMask | None = None,
        position_ids: torch.Tensor | None = None,
        cache: KVCache | None = None,
    ) -> torch.Tensor:
        """Compute the input of the head, `(B, L, W)`; arguments as for `forward`."""
        if input_ids.ndim != 2 or input_ids.dtype != torch.long:
            raise ArgumentError(
                f"input_ids must be int64 (batch, length), got {input_ids.dtype} {tuple(input_ids.shape)}; "
                "add the batch axis or convert with .long()"
            )
        batch, length = input_ids.shape
        heads = self.config.heads
        # On another device the check would wait for the device; a compiled model cannot branch on values.
        check_values = input_ids.device.type == "cpu" and not torch.compiler.is_compiling()
        if check_values:
            _check_range("tokens", input_ids, self.config.vocab_size)
        # Keys held by the cache come first: the new tokens are queries past .. past + length.
        past = 0 if cache is None else cache.length
        if cache is not None and cache.batch != batch:
            raise ArgumentError(
                f"the cache holds {cache.batch} sequences, got a batch of {batch}; make a cache of that batch"
            )
        if mask is None:
            # The model's own mask is over the whole context, of which these may be the first tokens.
            mask = bind_outside_graph(self.mask, length, past + length, q_start=past, batch=batch, heads=heads)
        elif isinstance(mask, Mask):
            # Bound here, so that the mask is lowered once for all layers; without a cache it must fit these tokens.
            q_start = None if cache is None else past
            mask = bind_outside_graph(mask, length, past + length, q_start=q_start, batch=batch, heads=heads)
        if position_ids is None:
            if past + length > self.config.context:
                raise ArgumentError(
                    f"the model knows {self.config.context} positions, got {past + length}; "
                    "shorten the sequence, or pass position_ids"
                )
            position_ids = torch.arange(past, past + length, device=input_ids.device).unsqueeze(0)
        else:
            if position_ids.dtype != torch.long or position_ids.shape not in ((1, length), (batch, length)):
                raise ArgumentError(
                    f"position_ids must be int64 ({batch} or 1, {length}), got {position_ids.dtype} "
                    f"{tuple(position_ids.shape)}; pass one position for each token"
                )
            if check_values:
                _check_range("position_ids", position_ids, self.config.context)
        rotary = self.rotary(position_ids)
        # Scaled by the root of the width (Vaswani et al. 2017, 3.4): the tied head wants small rows, the blocks large.
        x_BLW = self.embedding(input_ids) * self.config.width**0.5
        for layer, block in enumerate(self.blocks):
            x_BLW = block(x_BLW, mask=mask, rotary=rotary, cache=cache, layer=layer)
        if cache is not None:
            cache.advance(length)
        return self.norm(x_BLW)

    def forward(
        self,
        input_ids: torch.Tensor,
        *,
        mask: Mask | BoundMask | None = None,
        position_ids: torch.Tensor | None = None,
        cache: KVCache | None = None,
    ) -> torch.Tensor:
        """Compute the logits, `(B, L, V)`.

        Args:
            input_ids: int64 `(B, L)`; with a cache, the new tokens alone.
            mask: over L queries and, with a cache, over all keys held; the configuration's own mask when left out.
            position_ids: int64 `(B or 1, L)`; counted on from the cache when left out. Packed rows restart them.
            cache: from `new_cache`; the cache grows by L.

        Raises:
            ArgumentError: a tensor of another shape or dtype, an id or a position outside the model, or more positions
                than the context; on the CPU only, ids and positions are checked by value.
        """
        x_BLW = self.hidden(input_ids, mask=mask, position_ids=position_ids, cache=cache)
        return nn.functional.linear(x_BLW, self.embedding.weight)  # the head is tied (Press & Wolf 2017)


def _check_range(name: str, ids: torch.Tensor, end: int) -> None:
    """Raise `ArgumentError` unless all ids are in `[0, end)`."""
    if ids.numel() == 0:
        return
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= end:
        raise ArgumentError(f"{name} must be in [0, {end}), got {low} to {high}")
