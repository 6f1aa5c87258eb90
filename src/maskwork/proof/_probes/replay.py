"""One call of one module, captured in a forward pass, to be run again with other values at chosen positions."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .axes import Axes, find_axes
from .subject import main_output
from .tolerance import change

# What the rows of a survey's batch hold: see `survey_rows`. Every other row is the sequence itself.
LAST_CHANGED, FIRST_OTHER, SECOND_OTHER, PLAIN = 1, 2, 3, 4


class Replay:
    """A module's arguments with the sequence in every row, and how to change them at a position.

    The data among the arguments are told by behaviour: float tensors with a position axis that differ between rows of
    different tokens. Masks, angles and positions do not.
    """

    def __init__(
        self, module: torch.nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any, batch: int, length: int
    ) -> None:
        self.module, self.batch, self.length = module, batch, length
        self._leaves, self._spec = pytree.tree_flatten((args, named))
        self._data: dict[int, Axes] = {}
        for i, leaf in enumerate(self._leaves):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                axes = find_axes(leaf, batch, length)
                if axes is not None and _differs(axes.front(leaf, batch, length)):
                    self._data[i] = axes
        seen = main_output(out)
        self._out_axes = find_axes(seen, batch, length) if isinstance(seen, torch.Tensor) else None
        self.out_last = self._out_axes is not None and self._out_axes.position == seen.ndim - 1
        self._seen = seen

    @property
    def testable(self) -> bool:
        """Whether it takes data along the positions and returns something along them."""
        return bool(self._data) and self._out_axes is not None

    @property
    def data_last(self) -> bool:
        """Whether some data have their positions on the last axis, where a linear layer mixes."""
        return any(axes.position == self._leaves[i].ndim - 1 for i, axes in self._data.items())

    def leaves(self, dtype: torch.dtype | None = None) -> list[Any]:
        """The arguments with row 0, the sequence itself, in every row; floats in `dtype`."""
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
        """Views `(B, L, …)` of the data among `leaves`."""
        return [axes.front(leaves[i], self.batch, self.length) for i, axes in self._data.items()]

    def data(self, leaves: list[Any]) -> list[torch.Tensor]:
        """The data tensors themselves."""
        return [leaves[i] for i in self._data]

    def put(self, leaves: list[Any], tensors: list[torch.Tensor]) -> list[Any]:
        """`leaves` with other data tensors."""
        new = list(leaves)
        for i, tensor in zip(self._data, tensors, strict=True):
            new[i] = tensor
        return new

    def others(self, row: int, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
        """`(L, …)` of each data tensor, for the tokens of another row of the survey's batch."""
        rows = [front[row].detach().clone() for front in self.fronts(self._leaves)]
        return rows if dtype is None else [r.to(dtype) for r in rows]

    def output(self, leaves: list[Any], module: torch.nn.Module | None = None) -> torch.Tensor:
        """`(B, L, …)`: what the module returns for these arguments."""
        args, named = pytree.tree_unflatten(leaves, self._spec)
        out = main_output((module or self.module)(*args, **named))
        assert self._out_axes is not None
        return self._out_axes.front(out, self.batch, self.length)

    @cached_property
    def plain(self) -> torch.Tensor:
        """`(B, L, …)`: what a replay gives for the sequence itself in every row."""
        return self.output(self.leaves())

    def seen(self) -> torch.Tensor:
        """`(B, L, …)`: what the module returned in the forward pass."""
        assert self._out_axes is not None
        return self._out_axes.front(self._seen, self.batch, self.length)

    def faithful(self) -> bool:
        """Whether a replay gave what the forward pass gave, but for rounding; a module that keeps state does not."""
        first, again = self.seen()[0], self.plain
        if not first.is_floating_point():
            return bool(torch.equal(first, again[0]))
        scale = float(first.abs().nan_to_num(posinf=0.0, neginf=0.0).max()) if first.numel() else 0.0
        far = change(first, again[0])
        return bool((far <= 1e-3 * scale + 1e-30).all())


def _differs(front: torch.Tensor) -> bool:
    """Whether rows of other tokens hold other values."""
    return not torch.equal(front[FIRST_OTHER], front[0]) or not torch.equal(front[SECOND_OTHER], front[0])


def survey_rows(sequence: torch.Tensor, others: torch.Tensor, batch: int) -> torch.Tensor:
    """`(B, L, …)`: the sequence, with another last token, two other sequences, and the sequence again and again."""
    rows = sequence.expand(batch, *sequence.shape).clone()
    rows[LAST_CHANGED, -1] = others[0, -1]
    rows[FIRST_OTHER], rows[SECOND_OTHER] = others[0], others[1]
    return rows


def survey_batch(length: int) -> int:
    """Rows that a survey needs: two for each bit of a position, four kinds, and no other axis's length."""
    batch = max(16, PLAIN + 2 * (length - 1).bit_length())
    return batch + (batch == length)
