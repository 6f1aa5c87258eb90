"""Keyword arguments for `torch.nn.functional.scaled_dot_product_attention`."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch

from ..masks import BoundMask
from ._dense import to_dense
from ._memo import lowered


class SdpaArguments(TypedDict):
    """Keyword arguments of SDPA that mean one mask."""

    attn_mask: torch.Tensor | None
    is_causal: bool


def to_sdpa(b: BoundMask, device: torch.device | str = "cpu") -> SdpaArguments:
    """Return `{"attn_mask": ..., "is_causal": ...}` that mean exactly `b`.

    `is_causal` is True only where the geometry *is* SDPA's top-left triangle, and `attn_mask` is None without it only
    where every pair is allowed; any other mask is a dense bool tensor. SDPA's output for empty rows depends on its
    kernel: `mw.attention` replaces it by 0.

    >>> import maskwork as mw
    >>> mw.lower.to_sdpa(mw.causal().bind(4))
    {'attn_mask': None, 'is_causal': True}
    >>> mw.lower.to_sdpa(mw.causal().bind(1, 4, q_start=3))   # every pair is allowed: no mask
    {'attn_mask': None, 'is_causal': False}
    """
    device = torch.device(device)

    def make() -> SdpaArguments:
        return sdpa_shortcut(b) or {"attn_mask": to_dense(b, device), "is_causal": False}

    # A copy, because the caller may change the dictionary. The tensor in it is shared.
    return lowered(b, ("sdpa", device), make).copy()


def sdpa_shortcut(b: BoundMask) -> SdpaArguments | None:
    """Return arguments without a dense mask where the geometry allows them, else None; no cell is painted."""
    if _is_interval(b, np.full(b.grid.q_len, b.grid.kv_len)):
        return {"attn_mask": None, "is_causal": False}
    if _is_interval(b, np.minimum(np.arange(1, b.grid.q_len + 1), b.grid.kv_len)):
        return {"attn_mask": None, "is_causal": True}
    return None


def _is_interval(b: BoundMask, ends: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    """Return whether every row `q` is exactly `[0, ends[q])`, with at least one key."""
    spans = b.spans
    return bool(
        b.grid.kv_len > 0
        and spans.runs == 1
        and (spans.planes_starts[0] == 0).all()
        and (spans.planes_ends[0] == ends).all()
    )
