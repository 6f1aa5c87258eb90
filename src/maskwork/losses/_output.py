"""`LossOutput`: a loss and what it was made of; and how the scored positions' losses become it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ._checks import Scored

Reduction = Literal["token_mean", "sequence_mean", "sum", "none"]


@dataclass(frozen=True, eq=False)
class LossOutput:
    """A loss with what it was made of, so that parts of a batch can be added up exactly.

    Attributes:
        loss: the reduced loss in nats, 0-d; of the targets' shape for "none". It alone carries a gradient.
        loss_sum: 0-d, the weighted sum of the scored positions' losses, without gradient.
        weight_sum: 0-d, the sum of the scored positions' weights, without gradient.
        n_targets: how many positions are scored.
    """

    loss: torch.Tensor
    loss_sum: torch.Tensor
    weight_sum: torch.Tensor
    n_targets: int


def coefficients(scored: Scored, reduction: Reduction, denominator: float | None) -> torch.Tensor:
    """(n,) what each scored position's loss is multiplied by before all are added up."""
    weights = scored.weights
    if reduction == "token_mean":
        return weights / (weights.sum() if denominator is None else denominator)
    if reduction == "sequence_mean":
        length = max(scored.shape[-1], 1)
        sequence = scored.rows // length
        totals = weights.new_zeros(scored.shape.numel() // length).index_add(0, sequence, weights)
        sequences = (totals > 0).sum() if denominator is None else denominator
        return weights / totals[sequence] / sequences
    return weights


def spread(losses: torch.Tensor, scored: Scored) -> torch.Tensor:
    """(n,) scored positions' losses in the targets' shape, weighted, 0 elsewhere."""
    zeros = losses.new_zeros(scored.shape.numel())
    return zeros.index_copy(0, scored.rows, losses * scored.weights).view(scored.shape)


def output(loss: torch.Tensor, losses: torch.Tensor, scored: Scored) -> LossOutput:
    """The reduced `loss`, and what the (n,) `losses` of the scored positions add up to."""
    weights = scored.weights.detach()
    return LossOutput(loss, (losses.detach() * weights).sum(), weights.sum(), len(weights))
