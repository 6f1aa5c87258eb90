"""Rotary position embeddings (Su et al. 2021, RoFormer) in LLaMA's half-split layout, and how to stretch them.

A model meets distances that its training never showed when it runs beyond its training context. Three scalings squeeze
the new positions into the old angles, each a value that `mw.nn.Rotary(scaling=…)` takes:

| scaling | what the scaling does | source |
| --- | --- | --- |
| `LinearScaling` | every frequency is divided by the factor | position interpolation, Chen et al. 2023 |
| `NTKScaling` | a larger base: the highest frequency stays, the lowest is divided by the factor | bloc97 2023 |
| `YaRNScaling` | high frequencies stay, low ones are divided, some mixed; scores are sharpened | Peng et al. 2023 |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from .._shared.numbers import at_least, side
from ..errors import ArgumentError


class Rotary(nn.Module):
    """Table of the cosines and sines of every position, looked up by `position_ids`; the table moves with its model.

    Args:
        head_dim: width of one head, even.
        context: number of positions.
        theta: base of the wavelengths.
        scaling: `LinearScaling`, `NTKScaling` or `YaRNScaling`, to run beyond the training context.

    Raises:
        ArgumentError: `head_dim` is odd or too small, or `context` is no integer of at least 0.

    >>> import torch, maskwork as mw
    >>> rotary = mw.nn.Rotary(4, 8192, scaling=mw.nn.YaRNScaling(factor=4.0, original_context=2048))
    >>> cos, sin = rotary(torch.arange(5).unsqueeze(0))
    >>> cos.shape
    torch.Size([1, 1, 5, 4])
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(
        self, head_dim: int, context: int, theta: float = 10000.0, scaling: RotaryScaling | None = None
    ) -> None:
        super().__init__()
        cos, sin = rotary_table(head_dim, context, theta, scaling)
        # Not persistent: the configuration determines the table, so it doesn't belong in a weights file.
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Look up int64 positions `(B or 1, L)`.

        Returns:
            cos and sin, `(B or 1, 1, L, head_dim)` each, which broadcast against `(B, H, L, head_dim)`.

        Raises:
            ArgumentError: a position is below 0 or beyond the table, wherever reading the positions is free: on the CPU
                in eager mode. Elsewhere torch refuses what lies beyond the table.
        """
        _check_positions(position_ids, len(self.cos))
        return self.cos[position_ids].unsqueeze(1), self.sin[position_ids].unsqueeze(1)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate `x (B, H, L, D)` by the angles of its positions: element i is paired with element i + D/2.

    >>> import torch
    >>> from maskwork.nn import Rotary, rotate
    >>> x = torch.tensor([[[[1.0, 0.0]]]])
    >>> rotate(x, *Rotary(2, 8)(torch.tensor([[0]])))
    tensor([[[[1., 0.]]]])
    """
    left, right = x.chunk(2, dim=-1)
    # Back to x's dtype: under autocast x is bfloat16 and the float32 angles would promote it away from v's.
    return (x * cos + torch.cat([-right, left], dim=-1) * sin).to(x.dtype)


@dataclass(frozen=True)
class LinearScaling:
    """Position interpolation (Chen et al. 2023): position p turns as p / factor did.

    Attributes:
        factor: how much longer the context becomes, finite and at least 1.

    >>> from maskwork.nn import LinearScaling, frequencies
    >>> frequencies(4, scaling=LinearScaling(2.0))
    tensor([0.5000, 0.0050], dtype=torch.float64)
    """

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class NTKScaling:
    """NTK-aware scaling (bloc97 2023): theta becomes `theta * factor ** (head_dim / (head_dim - 2))`.

    The lowest frequency is then divided by `factor` and the highest unchanged. This is the static form; the dynamic
    form of Hugging Face with a factor f at length L is this with the factor `f * L / original_context - (f - 1)`.

    Attributes:
        factor: how much longer the context becomes, finite and at least 1.

    >>> from maskwork.nn import NTKScaling, frequencies
    >>> frequencies(4, scaling=NTKScaling(2.0))
    tensor([1.0000, 0.0050], dtype=torch.float64)
    """

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class YaRNScaling:
    """YaRN (Peng et al. 2023): frequencies are kept, divided or mixed by how often they turn in the original context.

    Attributes:
        factor: how much longer the context becomes.
        original_context: number of positions that the model was trained with.
        beta_fast: a frequency with more turns than this in the original context is kept.
        beta_slow: a frequency with fewer turns is divided by `factor`.
        attention_factor: multiplies cosines and sines, so scores by its square; `0.1 * ln(factor) + 1` when left out.
    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        object.__setattr__(self, "original_context", at_least(self.original_context, 1, "original_context"))
        if not 0 < self.beta_slow <= self.beta_fast:
            raise ArgumentError(
                f"0 < beta_slow <= beta_fast must hold, got beta_slow={self.beta_slow}, beta_fast={self.beta_fast}"
            )


RotaryScaling = LinearScaling | NTKScaling | YaRNScaling


def frequencies(head_dim: int, theta: float = 10000.0, scaling: RotaryScaling | None = None) -> torch.Tensor:
    """Return the angle per position of each pair of elements, float64 `(head_dim / 2,)`, fastest first.

    Raises:
        ArgumentError: `head_dim` is odd, or is 2 under NTK scaling, which needs a lowest and a highest frequency.

    >>> from maskwork.nn import frequencies
    >>> frequencies(4)
    tensor([1.0000, 0.0100], dtype=torch.float64)
    """
    head_dim = side(head_dim, 2, "head_dim")
    if head_dim % 2:
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
    """Return cosines and sines of positions `[0, context)`, float32 `(context, head_dim)` each, as `rotate` takes them.

    >>> from maskwork.nn import rotary_table
    >>> cos, sin = rotary_table(4, context=8)
    >>> cos.shape, float(cos[0, 0]), float(sin[0, 0])
    (torch.Size([8, 4]), 1.0, 0.0)
    """
    positions = torch.arange(side(context, 0, "context"), dtype=torch.float64)
    angles = torch.outer(positions, frequencies(head_dim, theta, scaling))
    angles = torch.cat([angles, angles], dim=-1)
    size = 1.0
    if isinstance(scaling, YaRNScaling):
        size = scaling.attention_factor
        size = 0.1 * math.log(scaling.factor) + 1.0 if size is None else size
    return (angles.cos() * size).float(), (angles.sin() * size).float()


def _yarn_ramp(scaling: YaRNScaling, head_dim: int, theta: float) -> torch.Tensor:
    """Return the share of each frequency that is divided: float64 `(head_dim / 2,)`, 0 for the fastest, 1 at the end.

    share divided
      1 |            _____
        |           /
        |          /
      0 |_________/
        +--------------------> index of the frequency, fastest first
                 low  high      (beta_fast turns, beta_slow turns in the original context)
    """

    def index(turns: float) -> float:
        """Return the index of the frequency that makes so many turns in the original context."""
        return head_dim * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    # Rounded outwards, and the upper bound clipped where the authors' code clips it.
    low = max(math.floor(index(scaling.beta_fast)), 0)
    high = min(math.ceil(index(scaling.beta_slow)), head_dim - 1)
    width = high - low if high != low else 0.001
    return ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / width).clamp(0.0, 1.0)


def _check_positions(position_ids: torch.Tensor, context: int) -> None:
    """Raise where positions lie outside a table of `context` positions: an index of -1 would be its last row."""
    # Positions of a GPU would cost a wait; those of a graph, a fake tensor or a transform cannot be read.
    plain = type(position_ids) is torch.Tensor and not torch.compiler.is_compiling()
    if not plain or position_ids.device.type != "cpu" or not position_ids.numel():
        return
    if torch._C._functorch.is_functorch_wrapped_tensor(position_ids):  # pyright: ignore[reportPrivateUsage]
        return
    low, high = (int(end) for end in position_ids.aminmax())
    if low < 0:
        raise ArgumentError(
            f"a rotary position must be at least 0, got {low}; give padding any position of the table, such as 0"
        )
    if high >= context:
        raise ArgumentError(
            f"a rotary position must be below the table's context of {context}, got {high}; make the table with "
            f"context={high + 1} or more, and with scaling= beyond the context of training"
        )


def _check_factor(factor: float) -> None:
    if not 1.0 <= factor < math.inf:
        raise ArgumentError(f"a scaling factor must be finite and at least 1, got {factor}; 1 changes nothing")
