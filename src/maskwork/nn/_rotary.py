"""`Rotary`: the table of rotary angles as a module that moves with its model."""

from __future__ import annotations

import torch
from torch import nn

from ._positions import RotaryScaling, rotary_table


class Rotary(nn.Module):
    """Cosines and sines of every position, looked up by `position_ids`; see `maskwork.nn._positions`.

    Args:
        head_dim: width of one head, even.
        context: number of positions.
        theta: base of the wavelengths.
        scaling: `LinearScaling`, `NTKScaling` or `YaRNScaling`, to run beyond the context of the training.

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
        # Not persistent: they follow from the configuration, so they don't belong in a weights file.
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 `(B or 1, L)` -> cos and sin, `(B or 1, 1, L, head_dim)` each, ready to meet `(B, H, L, head_dim)`."""
        return self.cos[position_ids].unsqueeze(1), self.sin[position_ids].unsqueeze(1)
