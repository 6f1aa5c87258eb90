"""One call of one module, captured in a forward pass, to be run again with other values at chosen positions."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch.utils import _pytree as pytree

from .subject import main_output
from .tolerance import change

# The rows of a survey's batch, see `survey_rows`. Every other row is the sequence itself:
#
#   row 0   row LAST_CHANGED   row FIRST_OTHER   row SECOND_OTHER   rows from PLAIN on
#   abcd    abcx               efgh              ijkl               abcd
LAST_CHANGED, FIRST_OTHER, SECOND_OTHER, PLAIN = 1, 2, 3, 4


class Axes(NamedTuple):
    """The two axes of a tensor; equal when batch and positions share one axis, rows first."""

    batch: int
    position: int

    def front(self, tensor: torch.Tensor, batch: int, length: int) -> torch.Tensor:
        """Return a view `(B, L, …)`, so that writing into the view writes into `tensor`."""
        if self.batch == self.position:
            return tensor.view(batch, length, *tensor.shape[1:])
        return tensor.movedim((self.batch, self.position), (0, 1))


def find_axes(tensor: torch.Tensor, batch: int, length: int, *, sure: bool = True) -> Axes | None:
    """Return the axes of `tensor`, or None when it has no axis of `length` positions beside one of `batch` rows.

    Rows 0 and 1 are those of two calls that differ in their last token alone. Where several axes are as long as the
    sequence, positions lie along the one on which that leaves most slices unchanged: a later token cannot have changed
    the earlier positions of an honest causal model, while every feature may have changed. A last axis counts as the
    positions only if a change shows them, unless `sure` is False. Of a batch of one, the first axis that fits.
    """
    shape = tuple(tensor.shape)
    if len(shape) >= 3 and shape[0] == batch:  # (B, L) may as well be features that are as many as the positions
        candidates = [Axes(0, d) for d in range(1, len(shape)) if shape[d] == length]
        if (
            sure
            and candidates == [Axes(0, len(shape) - 1)]
            and not 0 < _unchanged(tensor, candidates[0], batch, length) < length
        ):
            candidates = []  # features too, where no position of the last axis stands out
    elif len(shape) >= 3 and shape[:2] == (length, batch):  # sequence first, as torch's recurrent layers
        candidates = [Axes(1, 0)]
    elif len(shape) >= 2 and shape[0] == batch * length and tensor.is_contiguous():  # rows and positions flattened
        candidates = [Axes(0, 0)]
    else:
        candidates = []
    if len(candidates) < 2 or batch < 2:
        return candidates[0] if candidates else None
    return max(candidates, key=lambda axes: (_unchanged(tensor, axes, batch, length), -axes.position))


def _unchanged(tensor: torch.Tensor, axes: Axes, batch: int, length: int) -> int:
    rows = axes.front(tensor, batch, length)[:2].reshape(2, length, -1)
    return int((rows[0] == rows[1]).all(-1).sum())


class Replay:
    """A module's arguments with the sequence in every row, and how to change them at a position.

    The data among the arguments are known by behaviour: float tensors with a position axis that differ between rows of
    different tokens. Masks, angles and positions do not.
    """

    def __init__(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, batch: int, length: int
    ) -> None:
        self.module, self.batch, self.length = module, batch, length
        self._leaves, self._spec = pytree.tree_flatten((args, kwargs))
        self._data: dict[int, Axes] = {}
        for i, leaf in enumerate(self._leaves):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                axes = find_axes(leaf, batch, length)
                if axes is not None and _differs(axes.front(leaf, batch, length)):
                    self._data[i] = axes
        self._captured = main_output(out)
        is_tensor = isinstance(self._captured, torch.Tensor)
        self._out_axes = find_axes(self._captured, batch, length) if is_tensor else None
        self.out_last = self._out_axes is not None and self._out_axes.position == self._captured.ndim - 1

    @property
    def testable(self) -> bool:
        """Whether the module takes data along the positions and returns a tensor along them."""
        return bool(self._data) and self._out_axes is not None

    @property
    def data_last(self) -> bool:
        """Whether some data have their positions on the last axis, where a linear layer mixes."""
        return any(axes.position == self._leaves[i].ndim - 1 for i, axes in self._data.items())

    def leaves(self, dtype: torch.dtype | None = None) -> list[Any]:
        """Return the arguments with row 0, the sequence itself, in every row; floats in `dtype`."""
        out: list[Any] = []
        for i, leaf in enumerate(self._leaves):
            if isinstance(leaf, torch.Tensor):
                leaf = leaf.detach()
                if i in self._data:
                    leaf = leaf.clone(memory_format=torch.contiguous_format)
                    front = self._data[i].front(leaf, self.batch, self.length)
                    front.copy_(front[:1].clone().expand_as(front))
                elif leaf.ndim and leaf.shape[0] == self.batch:
                    leaf = leaf[:1].expand_as(leaf).clone()
                if dtype is not None and leaf.is_floating_point():
                    leaf = leaf.to(dtype)
            out.append(leaf)
        return out

    def fronts(self, leaves: list[Any]) -> list[torch.Tensor]:
        """Return views `(B, L, …)` of the data among `leaves`."""
        return [axes.front(leaves[i], self.batch, self.length) for i, axes in self._data.items()]

    def data(self, leaves: list[Any]) -> list[torch.Tensor]:
        """Return the data tensors among `leaves`, in their own layout."""
        return [leaves[i] for i in self._data]

    def with_data(self, leaves: list[Any], tensors: list[torch.Tensor]) -> list[Any]:
        """Return `leaves` with other data tensors."""
        new = list(leaves)
        for i, tensor in zip(self._data, tensors, strict=True):
            new[i] = tensor
        return new

    def row_data(self, row: int, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
        """Return `(L, …)` of each data tensor, for the tokens of one row of the survey's batch."""
        rows = [front[row].detach().clone() for front in self.fronts(self._leaves)]
        return rows if dtype is None else [r.to(dtype) for r in rows]

    def output(self, leaves: list[Any], module: torch.nn.Module | None = None) -> torch.Tensor:
        """Return `(B, L, …)`, the module's output for these arguments."""
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        out = main_output((module or self.module)(*args, **kwargs))
        assert self._out_axes is not None
        return self._out_axes.front(out, self.batch, self.length)

    @cached_property
    def plain(self) -> torch.Tensor:
        """A replay's output `(B, L, …)` for the sequence itself in every row."""
        return self.output(self.leaves())

    def captured(self) -> torch.Tensor:
        """Return `(B, L, …)`, the module's output in the forward pass."""
        assert self._out_axes is not None
        return self._out_axes.front(self._captured, self.batch, self.length)

    def faithful(self) -> bool:
        """Return whether a replay repeats the forward pass but for rounding; a module that keeps state does not."""
        first, replayed = self.captured()[0], self.plain
        if not first.is_floating_point():
            return bool(torch.equal(first, replayed[0]))
        scale = float(first.abs().nan_to_num(posinf=0.0, neginf=0.0).max()) if first.numel() else 0.0
        return bool((change(first, replayed[0]) <= 1e-3 * scale + 1e-30).all())


def _differs(front: torch.Tensor) -> bool:
    """Return whether rows of other tokens hold other values."""
    return not torch.equal(front[FIRST_OTHER], front[0]) or not torch.equal(front[SECOND_OTHER], front[0])


def survey_rows(sequence: torch.Tensor, substitute: torch.Tensor, batch: int) -> torch.Tensor:
    """Return the batch `(B, L, …)` of a survey: the sequence, one with another last token, two others, and copies."""
    rows = sequence.expand(batch, *sequence.shape).clone()
    rows[LAST_CHANGED, -1] = substitute[0, -1]
    rows[FIRST_OTHER], rows[SECOND_OTHER] = substitute[0], substitute[1]
    return rows


def survey_batch(length: int) -> int:
    """Return the rows that a survey needs: two for each bit of a position, four kinds, and no other axis's length."""
    batch = max(16, PLAIN + 2 * (length - 1).bit_length())
    return batch + (batch == length)
