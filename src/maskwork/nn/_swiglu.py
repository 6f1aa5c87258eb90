"""`SwiGLU`: the gated feed-forward (Shazeer 2020, "GLU Variants Improve Transformer")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .._shared.numbers import side


class SwiGLU(nn.Module):
    """Feed-forward `down(silu(gate(x)) * up(x))` without biases, from `(…, width)` to `(…, width)`.

    Args:
        width: size of the input and the output.
        hidden: size between the products.

    >>> import torch
    >>> from maskwork.nn import SwiGLU
    >>> SwiGLU(8, 16)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        width, hidden = side(width, 1, "width"), side(hidden, 1, "hidden")
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)  # one product for both halves
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `(…, width)` to `(…, width)`."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)
