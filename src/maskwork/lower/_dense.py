"""Dense lowerings: one cell per (query, key) pair, for small grids and for the reference implementation."""

from __future__ import annotations

from typing import Literal

import torch

from ..errors import ArgumentError
from ..masks import BoundMask
from ._memo import lowered


def to_dense(b: BoundMask, device: torch.device | str = "cpu") -> torch.Tensor:
    """Paint every cell on the device: bool `(B, H, Q, K)`, True = may attend.

    The tensor is memoised per device and shared: clone it before writing to it.

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
    """Return a tensor to add to the scores: `(B, H, Q, K)` of `dtype`, 0 where attention is allowed, `fill` elsewhere.

    Args:
        b: the mask.
        dtype: the floating point type of the scores.
        device: the device of the result.
        fill: `"-inf"`, or `"finfo.min"` for the most negative finite number of `dtype`.

    The tensor is memoised and shared as in `to_dense`.

    The softmax of an empty row is wrong with both fills. With -inf it is NaN: set the output of the rows in
    `b.empty_rows()` to 0, as `mw.attention` does. With `finfo.min`, which Hugging Face's eager masks use to avoid NaN,
    **an empty row attends to everything**: all its entries round to the same number, and the softmax is uniform over
    all keys, padding and future included. `finfo.min` is also not idempotent: added twice it overflows to -inf. No
    warning is given. `mw.attention` returns 0 for such rows.

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
        raise ArgumentError(f"dtype must be torch's, got {dtype!r:.60}; pass torch.float32 or another")
    if not dtype.is_floating_point:
        raise ArgumentError(f"an additive mask must be floating point, got {dtype}; use to_dense for a bool mask")
    if fill not in ("-inf", "finfo.min"):
        raise ArgumentError(f"fill must be '-inf' or 'finfo.min', got {fill!r}")
    value = float("-inf") if fill == "-inf" else torch.finfo(dtype).min

    # masked_fill rather than a product: 0 x -inf is NaN
    def make() -> torch.Tensor:
        zeros = torch.zeros(b.shape, dtype=dtype, device=device)
        return zeros.masked_fill_(~to_dense(b, device), value)

    return lowered(b, ("additive", dtype, device, fill), make)


def _paint(b: BoundMask, device: torch.device) -> torch.Tensor:
    spans = b.spans
    if device.type == "cpu":
        return torch.from_numpy(spans.dense())
    # The edges of the runs go to the device, not the cells; see `Spans.dense`.
    (batch, heads, rows), width = spans.shape, b.grid.kv_len + 1
    cells = torch.zeros((batch, heads, rows, width), dtype=torch.int8, device=device)
    for edges, step in ((spans.starts, 1), (spans.ends, -1)):
        columns = torch.tensor(edges, dtype=torch.int64, device=device)
        # Some runs end where the row does, in one column with the unused slots, which is dropped.
        cells.scatter_(-1, columns, step)
    return cells[..., :-1].cumsum(-1, dtype=torch.int8).bool()
