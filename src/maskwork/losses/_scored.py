"""Scored positions: a loss checks its arguments, finds them, and reduces their losses to a `LossOutput`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from .._shared.numbers import finite, is_number
from ..data import IGNORED
from ..errors import ArgumentError, CannotExpress
from ..lower import transforms

Reduction = Literal["token_mean", "sequence_mean", "sum", "none"]
REDUCTIONS = get_args(Reduction)


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


@dataclass(frozen=True, eq=False)
class Scored:
    """The n positions that count, numbered through the flattened targets.

        targets (2, 3)      rows     targets     weights
        [[ 7, -100,  3],    [0,      [7,         [1.0,
         [-100, 5, -100]]    2,       3,          0.5,
                             4]       5]          1.0]

    Attributes:
        rows: (n,) int64, the flat index of each position, ascending.
        targets: (n,) int64, what is predicted there.
        weights: (n,) above 0, in the dtype of the loss.
        shape: the shape of the targets.
    """

    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    shape: torch.Size


# What a loss refuses -------------------------------------------------------------------------------------------------


def check_options(
    reduction: str,
    denominator: float | torch.Tensor | None,
    on_empty: str,
    label_smoothing: float,
    z_loss: float,
) -> float | None:
    """Check every option of a loss and return the denominator as a number."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if on_empty not in ("zero", "raise"):
        raise ArgumentError(f"on_empty must be zero or raise, got {on_empty!r}")
    if not 0 <= finite(label_smoothing, "label_smoothing") <= 1:
        raise ArgumentError(f"label_smoothing must lie in [0, 1], got {label_smoothing}; 0.1 is usual, 0 is none")
    if finite(z_loss, "z_loss") < 0:
        raise ArgumentError(f"z_loss must be at least 0, got {z_loss}; 1e-4 is usual, 0 is none")
    if denominator is None:
        return None
    if reduction in ("sum", "none"):
        raise ArgumentError(
            f"reduction {reduction!r} divides by nothing, got a denominator; leave it out or pass 'token_mean'"
        )
    if isinstance(denominator, torch.Tensor):
        if denominator.numel() != 1:
            raise ArgumentError(
                f"denominator must be one number, got a tensor {tuple(denominator.shape)}; sum it over the whole step"
            )
        denominator = denominator.item()
    if not is_number(denominator):  # most often the whole `TargetCounts`
        raise ArgumentError(
            f"denominator must be one number, got {type(denominator).__name__}; of the result of count_targets pass "
            ".weight_sum, or .n_sequences for 'sequence_mean'"
        )
    divisor = finite(denominator, "denominator")
    if divisor <= 0:
        raise ArgumentError(f"denominator must be above 0, got {divisor:g}; pass the sum of weights")
    return divisor


def check_tensor(name: str, value: object) -> None:
    """Raise unless `value` is a tensor; a module or a batch that holds one is refused."""
    if not isinstance(value, torch.Tensor):
        raise ArgumentError(
            f"{name} must be a tensor, got {type(value).__name__}; pass the tensor itself, as batch.targets or "
            "head.weight"
        )


def check_floats(name: str, inputs: torch.Tensor, axes: str) -> None:
    """Raise unless `inputs` are floats with a last axis that is not empty; `axes` names the shape."""
    check_tensor(name, inputs)
    if not inputs.is_floating_point() or inputs.ndim == 0 or inputs.shape[-1] == 0:
        raise ArgumentError(
            f"{name} must be floats of shape {axes}, got {inputs.dtype} {tuple(inputs.shape)}; pass the model's output"
        )


def check_targets(
    name: str, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, reduction: str
) -> None:
    """Raise unless targets and weights have the shape of `inputs` without its last axis."""
    check_tensor("targets", targets)
    if weights is not None:
        check_tensor("weights", weights)
    if targets.shape != inputs.shape[:-1]:
        raise ArgumentError(
            f"targets must have the {name}' shape without the last axis, {tuple(inputs.shape[:-1])}, got "
            f"{tuple(targets.shape)}; reshape them"
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ArgumentError(f"targets must be integers, got {targets.dtype}; convert them with .long()")
    if weights is not None and weights.shape != targets.shape:
        raise ArgumentError(
            f"weights must have the targets' shape {tuple(targets.shape)}, got {tuple(weights.shape)}; reshape them"
        )
    if reduction == "sequence_mean" and targets.ndim == 0:
        raise ArgumentError("sequence_mean needs targets (..., L), got one target; pass reduction='token_mean'")


def acting_transforms(inputs: tuple[torch.Tensor | None, ...], targets: torch.Tensor) -> frozenset[str]:
    """List the transforms of torch that act on a loss's inputs; raise where `vmap` acts on what says who is scored.

    The `autograd.Function`s of the losses have no rule for a transform, so that other operators compute there.
    """
    weights = inputs[-1]
    if "vmap" in transforms(lambda: (targets, weights)):
        raise CannotExpress(
            "a loss finds its scored positions once for all samples of torch.vmap, got targets or weights that vmap "
            "splits; pass them whole, and the samples' positions by reduction='none'"
        )
    return transforms(lambda: inputs)


def refuse_second_order() -> None:
    """Raise on double backward; call it in a backward pass.

    The gradients of these losses have no graph. torch's `once_differentiable` is not enough: it returns constants when
    the incoming gradient needs no graph.
    """
    if torch.is_grad_enabled():
        raise ArgumentError(
            "a loss here is differentiable once, got create_graph=True; leave it out, or take torch's cross_entropy "
            "of the scored positions"
        )


# The positions that count --------------------------------------------------------------------------------------------


def loss_dtype(*inputs: torch.Tensor) -> torch.dtype:
    """Return the dtype of a loss: float64 if an input is float64, else float32."""
    return torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32


def find_scored(
    targets: torch.Tensor,
    weights: torch.Tensor | None,
    *,
    vocabulary: int,
    dtype: torch.dtype,
    on_empty: str,
) -> Scored:
    """Return the positions whose target is not -100 and whose weight, in `dtype`, is not 0; check every value."""
    targets = targets.long()  # in a narrow type, comparisons would wrap -100 and the vocabulary round
    valid = targets != IGNORED
    rule = f"targets must lie in [0, {vocabulary}) or be -100"
    _refuse_first(valid & ((targets < 0) | (targets >= vocabulary)), targets, rule)
    if weights is None:
        counted = None
    else:
        counted = weights.to(dtype)
        rule = f"weights must be finite in {dtype} and at least 0"
        _refuse_first(~((counted >= 0) & counted.isfinite()), weights, rule)
        # A weight that rounds to 0 in `dtype` scores nothing: 0 / 0 would follow from it.
        valid = valid & (counted > 0)
        total = counted.detach().where(valid, 0.0).sum()
        if not bool(total.isfinite()):
            raise ArgumentError(f"weights must have a finite sum in {dtype}, got {total.item()}; scale them down")
    rows = valid.reshape(-1).nonzero()[:, 0]
    if not len(rows) and on_empty == "raise":
        raise ArgumentError(
            "a loss needs at least one scored position, got none; leave the batch out or on_empty='zero'"
        )
    unit_weights = torch.ones(len(rows), dtype=dtype, device=targets.device)
    return Scored(
        rows=rows,
        targets=targets.reshape(-1)[rows],
        weights=unit_weights if counted is None else counted.reshape(-1)[rows],
        shape=targets.shape,
    )


def _refuse_first(wrong: torch.Tensor, values: torch.Tensor, rule: str) -> None:
    """Raise with the first value for which `wrong` is true, and its index."""
    if bool(wrong.any()):
        first = tuple(wrong.nonzero()[0].tolist())
        place = f"at [{', '.join(map(str, first))}]" if first else "as the only one"
        raise ArgumentError(f"{rule}, got {values[first].item()} {place}")


# From the losses of the positions to one loss -------------------------------------------------------------------------


def coefficients(scored: Scored, reduction: Reduction, denominator: float | None) -> torch.Tensor:
    """Return (n,) factors: the reduced loss is the sum of factor times loss over the scored positions."""
    weights = scored.weights
    if reduction == "token_mean":
        return weights / (weights.sum() if denominator is None else denominator)
    if reduction == "sequence_mean":
        length = max(scored.shape[-1], 1)  # an empty sequence scores nothing, and would divide by 0
        sequence = scored.rows // length
        totals = weights.new_zeros(scored.shape.numel() // length).index_add(0, sequence, weights)
        sequences = (totals > 0).sum() if denominator is None else denominator
        return weights / totals[sequence] / sequences
    return weights


def scatter(losses: torch.Tensor, scored: Scored) -> torch.Tensor:
    """Return the (n,) losses, weighted, in the targets' shape, with 0 where nothing is scored."""
    zeros = losses.new_zeros(scored.shape.numel())
    return zeros.index_copy(0, scored.rows, losses * scored.weights).view(scored.shape)


def output(loss: torch.Tensor, losses: torch.Tensor, scored: Scored) -> LossOutput:
    """Return the reduced `loss` with the sums over the (n,) `losses` of the scored positions."""
    weights = scored.weights.detach()
    return LossOutput(loss, (losses.detach() * weights).sum(), weights.sum(), len(weights))
