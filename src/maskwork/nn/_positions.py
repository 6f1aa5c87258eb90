"""Rotary position embeddings (Su et al. 2021, RoFormer) in LLaMA's half-split layout, and how to stretch them.

A model meets distances that it never saw when it runs beyond the context that it was trained with. Three ways to
squeeze the new positions into the old angles, each a value that `mw.nn.Rotary(scaling=…)` takes:

| scaling | what it does | source |
| --- | --- | --- |
| `LinearScaling` | every frequency divided by the factor | position interpolation, Chen et al. 2023 |
| `NTKScaling` | a larger base: the highest frequency stays, the lowest is divided by the factor | bloc97 2023 |
| `YaRNScaling` | high frequencies stay, low ones are divided, some mixed; scores are sharpened | Peng et al. 2023 |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import ArgumentError

__all__ = ["LinearScaling", "NTKScaling", "RotaryScaling", "YaRNScaling", "frequencies", "rotary_table", "rotate"]


@dataclass(frozen=True)
class LinearScaling:
    """Position interpolation (Chen et al. 2023): position p turns as p / factor did.

    >>> from maskwork.nn._positions import LinearScaling, frequencies
    >>> frequencies(4, scaling=LinearScaling(2.0))
    tensor([0.5000, 0.0050], dtype=torch.float64)
    """

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class NTKScaling:
    """NTK-aware scaling (bloc97 2023): theta becomes `theta * factor ** (head_dim / (head_dim - 2))`.

    The lowest frequency is then divided by `factor` and the highest unchanged. It is the static form; the dynamic one
    of Hugging Face with a factor f at length L is this with the factor `f * L / original_context - (f - 1)`.

    >>> from maskwork.nn._positions import NTKScaling, frequencies
    >>> frequencies(4, scaling=NTKScaling(2.0))
    tensor([1.0000, 0.0050], dtype=torch.float64)
    """

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class YaRNScaling:
    """YaRN (Peng et al. 2023): frequencies are kept, divided or mixed by how often they turn in the original context.

    Args:
        factor: how much longer the context is to be.
        original_context: number of positions that the model was trained with.
        beta_fast: a frequency with more turns than this in the original context is kept.
        beta_slow: one with fewer is divided by `factor`.
        attention_factor: multiplies cosines and sines, so scores by its square; `0.1 * ln(factor) + 1` when left out.
    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        if self.original_context < 1 or not 0 < self.beta_slow <= self.beta_fast:
            raise ArgumentError(
                "original_context must be at least 1 and 0 < beta_slow <= beta_fast, got "
                f"original_context={self.original_context}, beta_slow={self.beta_slow}, beta_fast={self.beta_fast}"
            )


RotaryScaling = LinearScaling | NTKScaling | YaRNScaling


def frequencies(head_dim: int, theta: float = 10000.0, scaling: RotaryScaling | None = None) -> torch.Tensor:
    """The angle per position of each pair of elements, float64 `(head_dim / 2,)`, from the fastest to the slowest.

    Raises:
        ArgumentError: `head_dim` is odd, or is 2 under NTK scaling, which needs a lowest and a highest frequency.

    >>> from maskwork.nn._positions import frequencies
    >>> frequencies(4)
    tensor([1.0000, 0.0100], dtype=torch.float64)
    """
    if head_dim < 2 or head_dim % 2:
        raise ArgumentError(f"rotary positions turn pairs of elements, so head_dim must be even, got {head_dim}")
    if isinstance(scaling, NTKScaling):
        if head_dim == 2:
            raise ArgumentError("NTK scaling needs a head_dim of at least 4, got 2; use LinearScaling")
        theta = theta * scaling.factor ** (head_dim / (head_dim - 2))
    # float64 until the last step: at position 100,000 a float32 angle is off by 0.004 already
    plain = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor
    if isinstance(scaling, YaRNScaling):
        divided = _yarn_ramp(scaling, head_dim, theta)
        return plain * (1.0 - divided) + plain / scaling.factor * divided
    return plain


def rotary_table(
    head_dim: int, context: int, theta: float = 10000.0, scaling: RotaryScaling | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of positions `[0, context)`, float32 `(context, head_dim)` each, as `rotate` takes them."""
    angles = torch.outer(torch.arange(context, dtype=torch.float64), frequencies(head_dim, theta, scaling))
    angles = torch.cat([angles, angles], dim=-1)
    size = 1.0
    if isinstance(scaling, YaRNScaling):
        size = scaling.attention_factor
        size = 0.1 * math.log(scaling.factor) + 1.0 if size is None else size
    return (angles.cos() * size).float(), (angles.sin() * size).float()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`x (B, H, L, D)` turned by its positions' angles: element i is paired with element i + D/2.

    >>> import torch
    >>> from maskwork.nn import Rotary, rotate
    >>> x = torch.tensor([[[[1.0, 0.0]]]])
    >>> rotate(x, *Rotary(2, 8)(torch.tensor([[0]])))
    tensor([[[[1., 0.]]]])
    """
    left, right = x.chunk(2, dim=-1)
    # Back to x's dtype: under autocast x is bfloat16 and the float32 angles would promote it away from v's.
    return (x * cos + torch.cat([-right, left], dim=-1) * sin).to(x.dtype)


def _yarn_ramp(scaling: YaRNScaling, head_dim: int, theta: float) -> torch.Tensor:
    """How much of each frequency is divided, from 0 for the fastest to 1 for the slowest: float64 `(head_dim / 2,)`."""

    def index(turns: float) -> float:
        """Where in the row of frequencies the one stands that turns so often in the original context."""
        return head_dim * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    # Rounded outwards, and the upper bound clipped where the authors' code clips it.
    low = max(math.floor(index(scaling.beta_fast)), 0)
    high = min(math.ceil(index(scaling.beta_slow)), head_dim - 1)
    width = high - low if high != low else 0.001
    return ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / width).clamp(0.0, 1.0)


def _check_factor(factor: float) -> None:
    if not 1.0 <= factor < math.inf:
        raise ArgumentError(f"a scaling factor must be finite and at least 1, got {factor}; 1 changes nothing")
