"""Rotary position embeddings (Su et al. 2021, RoFormer), in the half-split layout of LLaMA."""

from __future__ import annotations

import torch
from torch import nn


class Rotary(nn.Module):
    """Cosines and sines of every position, looked up by `position_ids`.

    Args:
        head_dim: width of one head, even.
        context: number of positions.
        theta: base of the wavelengths.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, head_dim: int, context: int, theta: float = 10000.0) -> None:
        super().__init__()
        # float64 until the last step: at position 100,000 a float32 angle is off by 0.004 already
        frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angles = torch.outer(torch.arange(context, dtype=torch.float64), frequencies)
        angles = torch.cat([angles, angles], dim=-1)
        # Not persistent: they follow from the configuration, so they don't belong in a weights file.
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 `(B or 1, L)` -> cos and sin, `(B or 1, 1, L, head_dim)` each, ready to meet `(B, H, L, head_dim)`."""
        return self.cos[position_ids].unsqueeze(1), self.sin[position_ids].unsqueeze(1)


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
