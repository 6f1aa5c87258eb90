"""The masks that tests of tiles run, at two lengths, and random tensors for them."""

from __future__ import annotations

import numpy as np
import torch

import maskwork as mw

CAUSAL = mw.causal()
WINDOW = CAUSAL & mw.sliding_window(24)

#: Masks of 150 positions.
MASKS = {
    "window": WINDOW,
    "sinks": CAUSAL & (mw.sliding_window(24) | mw.sinks(3)),
    "dilated": CAUSAL & mw.dilated(5, 7),
    "holes": CAUSAL - mw.sinks(40),
    "documents": CAUSAL & mw.document([30, 1, 60, 59]),
    "heads": mw.per_head([CAUSAL, WINDOW, mw.full(), mw.empty()]),
}

#: Masks of 300 positions, of one row or two.
LONG = {
    "window": CAUSAL & mw.sliding_window(40),
    "window and sinks": CAUSAL & (mw.sliding_window(33) | mw.sinks(3)),
    "documents": CAUSAL & mw.document([70, 70, 70, 1, 89]),
    "documents per row": CAUSAL & mw.document([[130, 1, 150, 19], [150, 150, 0, 0]]),
    "padding": CAUSAL & mw.padding([300, 170]),
    "globals": mw.band(20, 20) | mw.global_tokens([5, 100, 101, 280]),
    "dilated": mw.dilated(6, 4),
    "random": mw.from_dense(np.random.default_rng(0).random((300, 300)) < 0.2),
    "nothing": mw.empty(),
    "everything": mw.full(),
}

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def tensors(q_len: int = 150, heads: int = 4, kv_heads: int = 2, dim: int = 8, batch: int = 2, **kw: object) -> Tensors:
    """Return q `(B, Hq, L, D)`, k and v `(B, Hkv, L, D)`, the same at every call."""
    g = torch.Generator().manual_seed(0)
    q = torch.randn(batch, heads, q_len, dim, generator=g, **kw)
    k, v = (torch.randn(batch, kv_heads, q_len, dim, generator=g, **kw) for _ in range(2))
    return q, k, v
