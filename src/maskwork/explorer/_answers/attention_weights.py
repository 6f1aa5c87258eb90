"""The attention weights that a model really uses, layer by layer: watched while it runs, never worked out anew.

A picture that put the declared mask over computed scores would show what should be; a leak could not appear in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ...errors import ArgumentError
from ...kernels import attention
from ...nn import Attention


def attended(model: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return the weights `(H, L, L)` of each layer, float64, for tokens `ids` `(L,)`.

    Every call of `mw.attention` within the model's `mw.nn.Attention` is made once more with its own queries, keys, mask
    and scale, and with the identity for values: what comes back is the weights of that very call. What a model moves
    between positions elsewhere is not among them; `mw.audit` finds it.

    >>> import torch, maskwork as mw
    >>> model = mw.models.Transformer(mw.models.ModelConfig(
    ...     vocab_size=20, layers=2, width=16, heads=2, kv_heads=1, hidden=16, context=16))
    >>> weights = attended(model, torch.arange(8))
    >>> len(weights), weights[0].shape, float(weights[0].triu(1).sum())
    (2, torch.Size([2, 8, 8]), 0.0)
    """
    with torch.inference_mode(), _observed(model) as layers:
        model(ids.unsqueeze(0))
    return _checked(layers, len(ids))


def attended_hugging_face(model: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return the same of a model of transformers that runs eager attention: the weights that the model returns."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise ArgumentError("weights are shown of models of one sequence, got one with an encoder and a decoder")
    with torch.inference_mode():
        out = model(input_ids=ids.unsqueeze(0), output_attentions=True, use_cache=False)
    attentions = getattr(out, "attentions", None) or ()  # None stands for a layer without attention
    return _checked([layer.double() for layer in attentions if layer is not None], len(ids))


def _checked(layers: list[torch.Tensor], length: int) -> list[torch.Tensor]:
    if not layers:
        raise ArgumentError(
            "weights are shown of a model that attends, got one without attention that could be watched"
        )
    for layer in layers:
        if layer.ndim != 4 or layer.shape[0] != 1 or layer.shape[2:] != (length, length):
            raise ArgumentError(
                f"weights are shown of {length} queries and as many keys, got attention of shape "
                f"{tuple(layer.shape)}; take another prompt length, or another model"
            )
    return [layer[0] for layer in layers]


@contextmanager
def _observed(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect the weights `(B, H, Q, K)` of every call of `mw.attention` that `mw.nn.Attention` makes, in their order.

    Each `Attention` of this model, and of no other, is passed an `attend` that calls `mw.attention` a second time, with
    the identity for values.
    """
    layers: list[torch.Tensor] = []

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any = None, **options: Any) -> torch.Tensor:
        identity = torch.eye(k.shape[2], dtype=v.dtype).expand(*k.shape[:3], k.shape[2])
        layers.append(attention(q, k, identity, mask, **options).double())
        return attention(q, k, v, mask, **options)

    def pass_attend(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**options, "attend": attend}

    hooks = [
        module.register_forward_pre_hook(pass_attend, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, Attention)
    ]
    try:
        yield layers
    finally:
        for hook in hooks:
            hook.remove()
