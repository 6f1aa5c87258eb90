"""`ScoredBatch`: what all batches say of targets and weights, and how their tensors are moved, checked and labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import torch

from ...data import IGNORED
from ...errors import ArgumentError, CannotExpress


class ScoredBatch:
    """A batch, a frozen dataclass, with targets and weights of one shape."""

    targets: torch.Tensor
    weights: torch.Tensor

    @property
    def scored(self) -> torch.Tensor:
        """Bool, shaped like the targets: what counts in the loss."""
        return (self.targets != IGNORED) & (self.weights > 0)

    @property
    def n_targets(self) -> int:
        """How many targets are scored."""
        return int(self.scored.sum())

    @property
    def weight_sum(self) -> float:
        """The weight of all scored targets: what a mean over this batch divides by."""
        return float(self.weights.double().where(self.scored, 0.0).sum())

    def to(self, device: torch.device | str) -> Self:
        """The same batch with its tensors on `device`; masks are values and belong to no device."""
        held = {name: value for name, value in vars(self).items() if isinstance(value, (torch.Tensor, ScoredBatch))}
        return replace(self, **{name: value.to(device) for name, value in held.items()})


def check_tensors(batch: ScoredBatch, like: str, dtypes: Mapping[str, torch.dtype], ndim: int = 2) -> None:
    """Raise unless these tensors of the batch are None, or of these dtypes and of the shape (B, L) of the one named
    `like`, or (B,) with an `ndim` of 1.

    Raises:
        ArgumentError: one has another shape or dtype.
    """
    shape = getattr(batch, like).shape
    for name, dtype in dtypes.items():
        tensor: torch.Tensor | None = getattr(batch, name)
        if tensor is None:
            continue
        if tensor.ndim != ndim or tensor.shape != shape[:ndim] or tensor.dtype != dtype:
            raise ArgumentError(
                f"a batch's {name} must be {dtype} of shape {'(B, L)' if ndim == 2 else '(B,)'} like its {like} "
                f"{tuple(shape)}; found {tensor.dtype} {tuple(tensor.shape)}; convert or reshape it"
            )


def labels_of(batch: ScoredBatch) -> torch.Tensor:
    """The targets as transformers' labels, -100 where nothing is scored.

    Raises:
        CannotExpress: a scored position has a weight other than 1.
    """
    if bool((batch.weights[batch.scored] != 1).any()):
        raise CannotExpress(
            "labels say only whether a token is scored, not how much; found weights other than 1; "
            "call the model without labels and use masked_cross_entropy"
        )
    return batch.targets.where(batch.scored, IGNORED)
