"""Dense lowerings: one cell per (query, key) pair, for small grids and for the reference."""

from __future__ import annotations

import torch

from ..masks import BoundMask
from ._memo import lowered


def to_dense(b: BoundMask, device: torch.device | str = "cpu") -> torch.Tensor:
    """bool `(B, H, Q, K)`, True = may attend; painted on the device from the spans.

    Memoised per device and shared: do not write into it, clone it first.

    >>> import maskwork as mw
    >>> mw.lower.to_dense(mw.causal().bind(2))
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    device = torch.device(device)
    return lowered(b, ("dense", device), lambda: _paint(b, device))


def to_additive(b: BoundMask, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> torch.Tensor:
    """`(B, H, Q, K)` of `dtype`: 0 where attention is allowed and -inf where it is not, to be added to the scores.

    Memoised and shared like `to_dense`.

    A softmax over an empty row (all -inf) is NaN: mend such rows as `mw.attention` does, or see `b.empty_rows()`.

    >>> import maskwork as mw
    >>> mw.lower.to_additive(mw.causal().bind(2))
    tensor([[[[0., -inf],
              [0., 0.]]]])
    """
    device = torch.device(device)

    def make() -> torch.Tensor:
        zeros = torch.zeros(b.shape, dtype=dtype, device=device)
        return zeros.masked_fill_(~to_dense(b, device), float("-inf"))

    return lowered(b, ("additive", dtype, device), make)


def _paint(b: BoundMask, device: torch.device) -> torch.Tensor:
    keys = torch.arange(b.grid.kv_len, dtype=torch.int32, device=device)
    out = torch.zeros(b.shape, dtype=torch.bool, device=device)
    spans = b.spans
    for start, end in zip(spans.planes_starts, spans.planes_ends, strict=True):
        # torch refuses to wrap read-only NumPy memory without a warning; planes are small, so they are copied
        first = torch.tensor(start, device=device).unsqueeze(-1)
        last = torch.tensor(end, device=device).unsqueeze(-1)
        out |= (keys >= first) & (keys < last)
    return out
