"""What a loss refuses, and which positions it scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..data import IGNORED
from ..errors import ArgumentError

REDUCTIONS = ("token_mean", "sequence_mean", "sum", "none")


@dataclass(frozen=True, eq=False)
class Scored:
    """The n positions that count, counted through the flattened targets.

    Attributes:
        rows: (n,) int64, where they are, in order.
        targets: (n,) int64, what is predicted there.
        weights: (n,) above 0, in the dtype of the loss.
        shape: the targets' own.
    """

    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    shape: torch.Size


def loss_dtype(*inputs: torch.Tensor) -> torch.dtype:
    """float64 where an input is, else float32."""
    return torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32


def find_scored(
    targets: torch.Tensor,
    weights: torch.Tensor | None,
    *,
    vocabulary: int,
    dtype: torch.dtype,
    on_empty: str,
) -> Scored:
    """The positions whose target is not -100 and whose weight, in `dtype`, is not 0; every value is checked."""
    targets = targets.long()  # in a narrow type, comparisons would wrap -100 and the vocabulary round
    valid = targets != IGNORED
    rule = f"targets must lie in [0, {vocabulary}) or be -100"
    _refuse(valid & ((targets < 0) | (targets >= vocabulary)), targets, rule)
    if weights is not None:
        counted = weights.to(dtype)
        _refuse(~((counted >= 0) & counted.isfinite()), weights, f"weights must be finite in {dtype} and at least 0")
        valid = valid & (counted > 0)
        total = counted.detach().where(valid, 0.0).sum()
        if not bool(total.isfinite()):
            raise ArgumentError(f"weights must have a finite sum in {dtype}; found {total.item()}; scale them down")
    rows = valid.reshape(-1).nonzero()[:, 0]
    if not len(rows) and on_empty == "raise":
        raise ArgumentError(
            "a loss needs at least one scored position; found none; leave the batch out or on_empty='zero'"
        )
    ones = torch.ones(len(rows), dtype=dtype, device=targets.device)
    return Scored(
        rows=rows,
        targets=targets.reshape(-1)[rows],
        weights=ones if weights is None else counted.reshape(-1)[rows],
        shape=targets.shape,
    )


def check_options(
    reduction: str,
    denominator: float | torch.Tensor | None,
    on_empty: str,
    label_smoothing: float,
    z_loss: float,
) -> float | None:
    """The denominator as a number, once every option keeps its rule."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction must be one of {', '.join(REDUCTIONS)}; found {reduction!r}; pass one of them")
    if on_empty not in ("zero", "raise"):
        raise ArgumentError(f"on_empty must be zero or raise; found {on_empty!r}; pass one of them")
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must lie in [0, 1]; found {label_smoothing}; 0.1 is usual, 0 is none")
    if not (z_loss >= 0 and math.isfinite(z_loss)):
        raise ArgumentError(f"z_loss must be finite and at least 0; found {z_loss}; 1e-4 is usual, 0 is none")
    if denominator is None:
        return None
    if reduction in ("sum", "none"):
        raise ArgumentError(
            f"reduction {reduction!r} divides by nothing; found a denominator; leave it out or pass 'token_mean'"
        )
    if isinstance(denominator, torch.Tensor) and denominator.numel() != 1:
        raise ArgumentError(
            f"denominator must be one number; found a tensor {tuple(denominator.shape)}; sum it over the whole step"
        )
    try:
        value = float(denominator)
    except TypeError:
        raise ArgumentError(
            f"denominator must be one number; found {type(denominator).__name__}; of what count_targets gives pass "
            ".weight_sum, or .n_sequences for 'sequence_mean'"
        ) from None
    if not (math.isfinite(value) and value > 0):
        raise ArgumentError(f"denominator must be finite and above 0; found {value:g}; pass the sum of weights")
    return value


def check_tensor(name: str, value: object) -> None:
    """`value` is a tensor, and not what holds it."""
    if not isinstance(value, torch.Tensor):
        raise ArgumentError(
            f"{name} must be a tensor; found {type(value).__name__}; pass the tensor itself, as batch.targets or "
            "head.weight"
        )


def check_floats(name: str, inputs: torch.Tensor, axes: str) -> None:
    """`inputs` are floats with a last axis that is not empty."""
    check_tensor(name, inputs)
    if not inputs.is_floating_point() or inputs.ndim == 0 or inputs.shape[-1] == 0:
        raise ArgumentError(
            f"{name} must be floats of shape {axes}; found {inputs.dtype} {tuple(inputs.shape)}; pass the model's "
            "output"
        )


def check_targets(
    name: str, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None, reduction: str
) -> None:
    """Targets and weights fit `inputs`, which have one axis more."""
    check_tensor("targets", targets)
    if weights is not None:
        check_tensor("weights", weights)
    if targets.shape != inputs.shape[:-1]:
        raise ArgumentError(
            f"targets must have the {name}' shape without the last axis, {tuple(inputs.shape[:-1])}; found "
            f"{tuple(targets.shape)}; reshape them"
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ArgumentError(f"targets must be integers; found {targets.dtype}; convert them with .long()")
    if weights is not None and weights.shape != targets.shape:
        raise ArgumentError(
            f"weights must have the targets' shape {tuple(targets.shape)}; found {tuple(weights.shape)}; reshape them"
        )
    if reduction == "sequence_mean" and targets.ndim == 0:
        raise ArgumentError("sequence_mean needs targets (..., L); found no L; pass reduction='token_mean'")


def refuse_second_order() -> None:
    """In a backward pass, whose gradients have no graph; `once_differentiable` lets some pass as constants."""
    if torch.is_grad_enabled():
        raise ArgumentError(
            "a loss here is differentiable once; found create_graph=True; leave it out, or take torch's cross_entropy "
            "of the scored positions"
        )


def _refuse(wrong: torch.Tensor, values: torch.Tensor, rule: str) -> None:
    """Raise with the first place where `wrong` is true."""
    if bool(wrong.any()):
        first = tuple(wrong.nonzero()[0].tolist())
        place = f"at [{', '.join(map(str, first))}]" if first else "as the only one"
        raise ArgumentError(f"{rule}; found {values[first].item()} {place}; mend what made it")
