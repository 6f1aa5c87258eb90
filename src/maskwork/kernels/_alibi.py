"""`alibi`: attention with linear biases (Press et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .._shared.numbers import between, is_integer
from ..errors import ArgumentError
from ._bias import PositionBias, describe

#: The most heads that slopes are made for: far more than any model has.
_MOST_HEADS = 1 << 16


def alibi(slopes: torch.Tensor | int, *, signed: bool = False) -> PositionBias:
    """Return the bias `-slope * |k - q|` (ALiBi, Press et al. 2022), symmetrical where keys may lie ahead.

    Args:
        slopes: floating point `(H,)`, one per query head, or `(B, H)` with those of each batch row, as
            flash-attention's `alibi_slopes`; or a number of heads, for the paper's geometric slopes
            `2 ** (-8 / H), 2 ** (-16 / H), …`. Where H is no power of two, the slopes of the next smaller power come
            first, followed by every other slope of the next larger power, as in the authors' code.
        signed: True for `slope * (k - q)`, which grows with keys ahead: what a bias of key positions alone amounts to
            (BLOOM, MPT and Falcon in Hugging Face transformers, `generate_alibi_bias` of attention-gym). False is
            flash-attention's form. Under `causal()` both are the same.

    Raises:
        ArgumentError: slopes are neither.

    >>> import torch, maskwork as mw
    >>> q = torch.zeros(1, 4, 3, 8)
    >>> v = torch.eye(3).expand(1, 4, 3, 3)
    >>> mw.attention(q, q, v, mw.causal(), bias=mw.alibi(4))[0, 0]      # nearer keys weigh more
    tensor([[1.0000, 0.0000, 0.0000],
            [0.4378, 0.5622, 0.0000],
            [0.2543, 0.3265, 0.4192]])
    """
    if isinstance(slopes, torch.Tensor) and slopes.is_floating_point():
        if slopes.ndim in (1, 2) and slopes.numel():
            return _Alibi(slopes[0] if slopes.ndim == 2 and len(slopes) == 1 else slopes, bool(signed))
    elif is_integer(slopes) and int(slopes) >= 1:
        return _Alibi(_geometric_slopes(between(slopes, 1, _MOST_HEADS, "slopes, as a number of heads,")), bool(signed))
    raise ArgumentError(
        "slopes must be a floating point tensor (H,) or (B, H), or a number of heads of at least 1, got "
        f"{describe(slopes)}; pass one slope for each query head"
    )


@dataclass(frozen=True, eq=False)
class _Alibi(PositionBias):
    slopes: torch.Tensor
    signed: bool

    @property
    def heads(self) -> int:
        return self.slopes.shape[-1]

    @property
    def batch(self) -> int:
        return self.slopes.shape[0] if self.slopes.ndim == 2 else 1

    def of_distances(self, distances: torch.Tensor) -> torch.Tensor:
        # At least float32: bfloat16 cannot tell distance 257 from 256.
        slopes = self.slopes.to(distances.device, torch.promote_types(self.slopes.dtype, torch.float32))
        steps = (distances if self.signed else -distances.abs()).to(slopes.dtype)
        return slopes.unsqueeze(-1) * steps


def _geometric_slopes(heads: int) -> torch.Tensor:
    """Return the paper's slopes, float32 `(heads,)`."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * i / power) for i in range(1, power + 1)]
    # Heads beyond the power of two take the odd entries of the sequence for twice as many heads.
    extra = [2.0 ** (-4.0 * i / power) for i in range(1, 2 * (heads - power), 2)]
    return torch.tensor(slopes + extra, dtype=torch.float32, device="cpu")
