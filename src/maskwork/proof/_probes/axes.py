"""Where a tensor keeps its batch and its positions, whatever layout a module uses."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Axes(NamedTuple):
    """The two axes of a tensor; equal when batch and positions share one axis, rows first."""

    batch: int
    position: int

    def front(self, tensor: torch.Tensor, batch: int, length: int) -> torch.Tensor:
        """A view `(B, L, …)`, so that writing into it writes into `tensor`."""
        if self.batch == self.position:
            return tensor.view(batch, length, *tensor.shape[1:])
        return tensor.movedim((self.batch, self.position), (0, 1))


def find_axes(tensor: torch.Tensor, batch: int, length: int, *, sure: bool = True) -> Axes | None:
    """The axes of `tensor`, or None when it has no axis of `length` positions beside one of `batch` rows.

    Rows 0 and 1 are those of two calls that differ in their last token alone. Where several axes are as long as the
    sequence, positions lie along the one on which that leaves most slices as they were: a later token cannot have
    changed the earlier positions of an honest causal model, while every feature may have changed. A last axis is
    taken for the positions only if that shows them, unless `sure` is False. Of a batch of one, the first that fits.
    """
    shape = tuple(tensor.shape)
    if len(shape) >= 3 and shape[0] == batch:  # (B, L) may as well be features that are as many as the positions
        places = [Axes(0, d) for d in range(1, len(shape)) if shape[d] == length]
        if (
            sure
            and places == [Axes(0, len(shape) - 1)]
            and not 0 < _unchanged(tensor, places[0], batch, length) < length
        ):
            places = []  # so may a last axis on which no position stands out
    elif len(shape) >= 3 and shape[:2] == (length, batch):
        places = [Axes(1, 0)]
    elif len(shape) >= 2 and shape[0] == batch * length and tensor.is_contiguous():
        places = [Axes(0, 0)]
    else:
        places = []
    if len(places) < 2 or batch < 2:
        return places[0] if places else None
    return max(places, key=lambda axes: (_unchanged(tensor, axes, batch, length), -axes.position))


def _unchanged(tensor: torch.Tensor, axes: Axes, batch: int, length: int) -> int:
    rows = axes.front(tensor, batch, length)[:2].reshape(2, length, -1)
    return int((rows[0] == rows[1]).all(-1).sum())
