"""Modules that mix positions, or rows, without attention: extra modules in a block of a specimen."""

from __future__ import annotations

import torch
from torch import nn

from ._specimens import WIDTH


class SequenceNorm(nn.Module):
    """Normalisation over positions as well as features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean((1, 2), keepdim=True)) / (x.std((1, 2), keepdim=True) + 1e-5)


class PerRowNorm(nn.Module):
    """Normalisation of each position over the rows of the batch: rows are mixed, positions are not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0, keepdim=True)


class SequenceConvolution(nn.Module):
    """A convolution of three taps padded on both sides; the tap that looks ahead is scaled by `ahead`."""

    def __init__(self, ahead: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, WIDTH, 2)
        self.ahead = nn.Linear(WIDTH, WIDTH, bias=False)
        self.scale = ahead

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Two taps on the present and the past, and one on the next position: `ahead` scales the leak.
        causal = self.convolution(nn.functional.pad(x, (0, 0, 1, 0)).transpose(1, 2)).transpose(1, 2)
        return causal + self.scale * nn.functional.pad(self.ahead(x)[:, 1:], (0, 0, 0, 1))


class Router(nn.Module):
    """A mixture of experts: each position goes to the one of its highest score."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, experts)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Send each position to its expert: `(B, L, W)` -> `(B, L, W)`."""
        flat = x.reshape(-1, WIDTH)
        scores = self.gate(x)
        chosen = scores.argmax(-1).reshape(-1)
        has_room = self.capacity(scores).reshape(-1)
        out = torch.zeros_like(flat)
        # Each expert takes its positions of all rows at once, as a dispatch to devices does.
        for e, expert in enumerate(self.experts):
            mine = (chosen == e) & has_room
            out[mine] = expert(flat[mine])
        return out.view_as(x)

    def capacity(self, scores: torch.Tensor) -> torch.Tensor:
        """Return bool `(B, L)`: which positions their expert has room for; all of them."""
        return torch.ones(scores.shape[:-1], dtype=torch.bool)


class CapacityRouter(Router):
    """Experts take only so many positions, those of the highest scores: later ones push earlier ones out."""

    def capacity(self, scores: torch.Tensor) -> torch.Tensor:
        best, chosen = scores.max(-1)
        room = torch.zeros_like(best, dtype=torch.bool)
        for e in range(scores.shape[-1]):
            # This expert's positions; in each row the four with the highest scores have room.
            mine = torch.where(chosen == e, best, -torch.inf)
            top = mine.topk(min(4, mine.shape[1]), dim=1)
            room.scatter_(1, top.indices, top.values > -torch.inf)
        return room
