"""How far two outputs or gradients differ, and how much of a difference rounding may explain."""

from __future__ import annotations

from typing import Any

import torch

# Machine epsilons of room, relative to the largest output. Measured on honest Transformers of width 16 to 128 and 1 to
# 6 layers: up to 11 in float32, where sums too are rounded to it, and 2 in bfloat16 and float16, whose sums are float32
# inside. Planted faults move float32 outputs by at least 11,000, so 2**10 (1.2e-4) lies well between. In half precision
# they move by 40 after `init_weights`, but by less than 2 where embeddings dwarf attention: a fault below 2**3 (6 % in
# bfloat16, 0.8 % in float16) cannot be told from rounding there, and the evidence says so.
_ROOM, _ROOM_HALF = 2**10, 2**3
_HALF = 1e-5  # an epsilon above this is a half-precision one


def change(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return float64 `(L,)`: the largest |a - b| at each position of `(L, …)`; exactly 0 where nothing changed.

    Equal infinities are no change (a vocabulary entry that is masked out stays at -inf), nor is a NaN that stays NaN.
    A NaN or an infinity on one side only is an infinite change. Any dtype: complex by modulus.

    >>> import torch
    >>> change(torch.tensor([1.0, -torch.inf, torch.nan, 0.0]), torch.tensor([3.0, -torch.inf, torch.nan, torch.nan]))
    tensor([2., 0., 0., inf], dtype=torch.float64)
    """
    if torch.equal(a, b):  # by far the most common answer, and it needs no wider copies
        return torch.zeros(len(a), dtype=torch.float64, device=a.device)
    if len(a) > 1:  # only rows that differ are widened: most rows of a comparison hold the same bits
        rows = (a != b).reshape(len(a), -1).any(-1)
        if not rows.all():
            out = torch.zeros(len(a), dtype=torch.float64, device=a.device)
            out[rows] = change(a[rows], b[rows]) if rows.any() else 0.0
            return out
    wide = torch.complex128 if a.is_complex() else torch.float64
    equal = (a == b) | (a.isnan() & b.isnan())
    distance = (a.to(wide) - b.to(wide)).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    # Large integers may differ by less than float64 shows: unequal values never count as 0.
    distance = torch.where(equal, 0.0, distance.clamp(min=torch.finfo(torch.float64).tiny))
    return distance.reshape(len(distance), -1).amax(-1)


def tolerance(outputs: torch.Tensor, model: Any) -> float:
    """Return the change that another order of summation may cause in outputs `(L, …)` of one sequence.

    The room is relative to the outputs' own scale, however small that is: a fresh model's logits are near 0, and so are
    the effects of its faults. Integers and booleans have no rounding, so no room.
    """
    if not (outputs.is_floating_point() or outputs.is_complex()):
        return 0.0
    columns = outputs.reshape(len(outputs), -1)
    # A column that never changes, such as masked entries at -1e9, says nothing about rounding elsewhere.
    varying = (columns != columns[:1]).any(0)
    columns = columns[:, varying] if varying.any() else columns  # one position, or equal tokens: no column varies
    columns = columns.abs().double()
    finite = columns[columns.isfinite()]
    scale = float(finite.max()) if finite.numel() else 0.0
    eps = _precision(outputs, model)
    return (_ROOM_HALF if eps > _HALF else _ROOM) * eps * scale


def relative_room(outputs: torch.Tensor, model: Any) -> float:
    """Return the change below which float64 has to decide whether a difference is rounding.

    Unlike in `tolerance`, columns that never change count, and half precision gets no smaller room.
    """
    if not outputs.is_floating_point():
        return 0.0
    finite = outputs[outputs.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return _ROOM * _precision(outputs, model) * scale


def at_rounding_level(gradient: torch.Tensor) -> torch.Tensor:
    """Return bool: which float64 gradients are so small beside the largest that they may be rounding."""
    return (gradient > 0) & (gradient <= 2**10 * torch.finfo(torch.float64).eps * gradient.max())


def tolerance_words(outputs: torch.Tensor, model: Any) -> str:
    """Return the words of the evidence that say how much rounding may explain."""
    words = f"rounding may explain {tolerance(outputs, model):.2g}"
    if not (outputs.is_floating_point() or outputs.is_complex()) or _precision(outputs, model) < _HALF:
        return words
    return words + ", in half precision; audit model.float() to see fainter faults"


def dtype_name(dtype: torch.dtype | None) -> str:
    """Return "float32" for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def nan_words(outputs: torch.Tensor) -> str:
    """Return "the model returns NaN at …" for outputs `(L, …)`, "" where no output is NaN."""
    positions = outputs.isnan().reshape(len(outputs), -1).any(-1).nonzero().flatten().tolist()
    if not positions:
        return ""
    return f"the model returns NaN at {len(positions)} of {len(outputs)} positions, first at {positions[0]}"


def _precision(outputs: torch.Tensor, model: Any) -> float:
    """Return the coarsest machine epsilon at work: outputs are often widened to float32 after bfloat16 weights."""
    dtypes = {outputs.dtype}
    if isinstance(model, torch.nn.Module):
        # Formats of one byte are for storage: the arithmetic is done in a wider one.
        dtypes |= {p.dtype for p in model.parameters() if p.is_floating_point() and p.element_size() > 1}
    return max(torch.finfo(dtype).eps for dtype in dtypes)
