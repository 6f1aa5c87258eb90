"""Dense lowerings: one cell per (query, key) pair, for small grids and for the reference."""

from __future__ import annotations

from typing import Literal

import torch

from ..errors import ArgumentError
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


def to_additive(
    b: BoundMask,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    *,
    fill: Literal["-inf", "finfo.min"] = "-inf",
) -> torch.Tensor:
    """`(B, H, Q, K)` of `dtype`: 0 where attention is allowed and `fill` where it is not, to be added to the scores.

    Args:
        b: the mask.
        dtype: floating point; that of the scores.
        device: where the result lies.
        fill: `"-inf"`, or `"finfo.min"` for the most negative finite number of `dtype`.

    Memoised and shared like `to_dense`.

    A softmax over an empty row is a trap either way. With -inf it is NaN: mend such rows as `mw.attention` does, or
    see `b.empty_rows()`. With `finfo.min`, which Hugging Face's eager masks use so that no NaN appears, **such a row
    attends to everything**: its scores vanish beside finfo.min, all entries round to the same number, and the softmax
    is uniform over all keys, padding and future included. It is also not idempotent: added twice it overflows to
    -inf. Nothing warns. `mw.attention` gives 0 on such rows.

    >>> import maskwork as mw
    >>> mw.lower.to_additive(mw.causal().bind(2))
    tensor([[[[0., -inf],
              [0., 0.]]]])
    >>> sees_nothing = mw.lower.to_additive(mw.empty().bind(1, 4), fill="finfo.min")
    >>> torch.softmax(torch.tensor([3.0, 1.0, 2.0, 9.0]) + sees_nothing, -1)   # it sees everything
    tensor([[[[0.2500, 0.2500, 0.2500, 0.2500]]]])
    """
    device = torch.device(device)
    if not isinstance(dtype, torch.dtype):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"dtype must be torch's, got {dtype!r:.60}; pass torch.float32, say")
    if not dtype.is_floating_point:
        raise ArgumentError(f"an additive mask must be floating point, got {dtype}; use to_dense for a bool mask")
    if fill not in ("-inf", "finfo.min"):
        raise ArgumentError(f"fill must be '-inf' or 'finfo.min', got {fill!r}; the first unless you know why")
    value = float("-inf") if fill == "-inf" else torch.finfo(dtype).min

    def make() -> torch.Tensor:
        zeros = torch.zeros(b.shape, dtype=dtype, device=device)
        return zeros.masked_fill_(~to_dense(b, device), value)

    return lowered(b, ("additive", dtype, device, fill), make)


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
