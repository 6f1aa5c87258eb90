"""Keyword arguments for `torch.nn.functional.scaled_dot_product_attention`."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch

from ..masks import BoundMask
from ._dense import to_dense
from ._memo import lowered


class SdpaArguments(TypedDict):
    """What SDPA is told about the mask."""

    attn_mask: torch.Tensor | None
    is_causal: bool


def to_sdpa(b: BoundMask, device: torch.device | str = "cpu") -> SdpaArguments:
    """`{"attn_mask": ..., "is_causal": ...}` that mean exactly `b`.

    `is_causal` is used only where the geometry *is* the top-left triangle that SDPA means by it, and no mask at all
    only where every pair is allowed; anything else is a dense bool mask. Empty rows come back from SDPA as whatever
    its kernel makes of them: `mw.attention` mends those.

    >>> import maskwork as mw
    >>> mw.lower.to_sdpa(mw.causal().bind(4))
    {'attn_mask': None, 'is_causal': True}
    >>> mw.lower.to_sdpa(mw.causal().bind(1, 4, q_start=3))   # sees everything: no mask is needed
    {'attn_mask': None, 'is_causal': False}
    """
    device = torch.device(device)

    return lowered(
        b, ("sdpa", device), lambda: sdpa_shortcut(b) or {"attn_mask": to_dense(b, device), "is_causal": False}
    )


def sdpa_shortcut(b: BoundMask) -> SdpaArguments | None:
    """The arguments that need no dense mask, where there are any; nothing is painted to find out."""
    if _is_interval(b, np.full(b.grid.q_len, b.grid.kv_len)):
        return {"attn_mask": None, "is_causal": False}
    if _is_interval(b, np.minimum(np.arange(1, b.grid.q_len + 1), b.grid.kv_len)):
        return {"attn_mask": None, "is_causal": True}
    return None


def _is_interval(b: BoundMask, ends: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    """Whether every row `q` is exactly `[0, ends[q])`, with at least one key."""
    spans = b.spans
    return bool(
        b.grid.kv_len > 0
        and spans.runs == 1
        and (spans.planes_starts[0] == 0).all()
        and (spans.planes_ends[0] == ends).all()
    )
