"""`masked_cross_entropy`: what each scored position costs, and exactly nothing from the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from ..errors import ArgumentError
from ._batch import IGNORED

Reduction = Literal["token_mean", "sequence_mean", "sum"]


@dataclass(frozen=True, eq=False)
class LossOutput:
    """A loss with what it was made of, so that parts of a batch can be added up exactly.

    Attributes:
        loss: 0-d, the reduced loss in nats: call `.backward()` on it.
        loss_sum: 0-d, the weighted sum of the scored positions' losses.
        weight_sum: 0-d, the sum of the scored positions' weights, without gradient.
        n_targets: how many positions are scored.
    """

    loss: torch.Tensor
    loss_sum: torch.Tensor
    weight_sum: torch.Tensor
    n_targets: int


def masked_cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    reduction: Reduction = "token_mean",
    denominator: float | torch.Tensor | None = None,
    on_empty: Literal["zero", "raise"] = "zero",
) -> LossOutput:
    """Cross-entropy of the scored positions: those whose target is not -100 and whose weight is not 0.

    Computed in float32 whatever the logits' dtype (in float64 for float64 logits). What stands at a position
    that is not scored, NaN and inf included, changes neither the loss nor any gradient, and its own gradient
    is exactly 0.

    Args:
        logits: (..., V) floats; for "sequence_mean" (..., L, V).
        targets: (...) integers in [0, V), or -100 where nothing is scored; already shifted.
        weights: (...) finite numbers >= 0; None counts every target once.
        reduction: "token_mean" divides the weighted sum by the sum of weights; "sequence_mean" averages each
            sequence's weighted mean over the sequences that score anything; "sum" divides by nothing.
        denominator: divides instead of the sum of weights (or of the number of sequences that score): with
            the whole step's number, the gradients of a step's parts add up to those of the whole.
        on_empty: with nothing scored, "zero" gives a loss of 0 with gradient 0, "raise" an `ArgumentError`.

    Raises:
        ArgumentError: shapes don't fit, a target lies outside [0, V), a weight is negative or not finite.

    >>> logits = torch.tensor([[2.0, 0.0], [float("nan"), 0.0]])
    >>> out = masked_cross_entropy(logits, torch.tensor([0, -100]))
    >>> round(out.loss.item(), 4), out.n_targets
    (0.1269, 1)
    """
    _check_options(reduction, denominator, on_empty)
    vocabulary = _check_shapes(logits, targets, weights, reduction)
    valid = targets != IGNORED
    _refuse(
        valid & ((targets < 0) | (targets >= vocabulary)),
        targets,
        f"targets must lie in [0, {vocabulary}) or be -100",
    )
    if weights is None:
        scored = valid
    else:
        _refuse(~((weights >= 0) & weights.isfinite()), weights, "weights must be finite and at least 0")
        scored = valid & (weights > 0)
    n_targets = int(scored.sum())
    if n_targets == 0 and on_empty == "raise":
        raise ArgumentError(
            "a loss needs at least one scored position; found none; leave the batch out or on_empty='zero'"
        )

    losses = _PositionLosses.apply(
        logits.reshape(-1, vocabulary), targets.where(scored, 0).long().reshape(-1), scored.reshape(-1)
    ).view(targets.shape)
    counted = scored.to(losses.dtype) if weights is None else weights.to(losses.dtype).where(scored, 0.0)
    if weights is not None:
        losses = losses * counted
    loss_sum, weight_sum = losses.sum(), counted.sum()
    if reduction == "sum":
        loss = loss_sum
    elif reduction == "token_mean":
        loss = loss_sum / _divisor(denominator, weight_sum)
    else:
        per_sequence = counted.sum(-1)
        means = losses.sum(-1) / per_sequence.where(per_sequence > 0, 1.0)
        loss = means.sum() / _divisor(denominator, (per_sequence > 0).sum())
    return LossOutput(loss, loss_sum, weight_sum.detach(), n_targets)


class _PositionLosses(torch.autograd.Function):
    """(N, V) logits -> (N,) losses, 0 where not scored.

    PyTorch's `cross_entropy` with `ignore_index` turns a NaN at an ignored position into NaN gradients there,
    and selecting the scored rows first costs two more copies of the logits. This keeps none: the softmax is
    computed again in the backward pass, which is cheaper than storing it.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        logits: torch.Tensor,
        targets: torch.Tensor,
        scored: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, targets, scored)
        log_p = torch.log_softmax(logits, -1, dtype=_loss_dtype(logits))
        return -log_p.gather(1, targets[:, None])[:, 0].masked_fill(~scored, 0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_losses: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        logits, targets, scored = ctx.saved_tensors  # pyright: ignore
        grad = torch.softmax(logits, -1, dtype=_loss_dtype(logits))
        grad.scatter_add_(1, targets[:, None], grad.new_full((len(targets), 1), -1.0))
        grad.mul_(grad_losses[:, None])
        # Overwritten, not multiplied by 0: 0 * NaN is NaN.
        grad.index_fill_(0, (~scored).nonzero()[:, 0], 0.0)
        return grad.to(logits.dtype), None, None


def _loss_dtype(logits: torch.Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _divisor(denominator: float | torch.Tensor | None, own: torch.Tensor) -> float | torch.Tensor:
    # With nothing scored the sum is 0, and 0 / 1 keeps both the loss and its gradient at 0.
    return own.where(own > 0, 1) if denominator is None else denominator


def _check_options(reduction: str, denominator: float | torch.Tensor | None, on_empty: str) -> None:
    if reduction not in ("token_mean", "sequence_mean", "sum"):
        raise ArgumentError(
            f"reduction must be token_mean, sequence_mean or sum; found {reduction!r}; pass one of them"
        )
    if on_empty not in ("zero", "raise"):
        raise ArgumentError(f"on_empty must be zero or raise; found {on_empty!r}; pass one of them")
    if denominator is None:
        return
    if reduction == "sum":
        raise ArgumentError("a sum is divided by nothing; found a denominator; leave it out or reduction='token_mean'")
    value = float(denominator)
    if not (math.isfinite(value) and value > 0):
        raise ArgumentError(f"denominator must be finite and above 0; found {value:g}; pass the sum of weights")


def _check_shapes(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, reduction: str) -> int:
    """The vocabulary size, once the shapes and kinds fit."""
    if not logits.is_floating_point() or logits.ndim == 0 or logits.shape[-1] == 0:
        raise ArgumentError(
            f"logits must be floats of shape (..., V); found {logits.dtype} {tuple(logits.shape)}; pass the "
            "model's output"
        )
    if targets.shape != logits.shape[:-1]:
        raise ArgumentError(
            f"targets must have the logits' shape without the last axis, {tuple(logits.shape[:-1])}; found "
            f"{tuple(targets.shape)}; reshape them"
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ArgumentError(f"targets must be integers; found {targets.dtype}; convert them with .long()")
    if weights is not None and weights.shape != targets.shape:
        raise ArgumentError(
            f"weights must have the targets' shape {tuple(targets.shape)}; found {tuple(weights.shape)}; reshape them"
        )
    if reduction == "sequence_mean" and targets.ndim == 0:
        raise ArgumentError("sequence_mean needs logits (..., L, V); found no L; pass reduction='token_mean'")
    return logits.shape[-1]


def _refuse(wrong: torch.Tensor, values: torch.Tensor, rule: str) -> None:
    """Raise with the first place where `wrong` is true."""
    if bool(wrong.any()):
        first = tuple(wrong.nonzero()[0].tolist())
        place = f"at [{', '.join(map(str, first))}]" if first else "as the only one"
        raise ArgumentError(f"{rule}; found {values[first].item()} {place}; mend what made it")
