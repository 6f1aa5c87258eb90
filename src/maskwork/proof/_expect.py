"""What is expected: one mask, or one for each layer, as tables of what may influence what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..errors import ArgumentError, GridError
from ..lower import to_dense
from ..masks import Mask
from ._probes.subject import CannotRun
from ._probes.survey import Survey

# What configurations call the number of their layers.
_COUNTS = ("layers", "num_hidden_layers", "n_layer", "num_layers", "n_layers")


@dataclass(frozen=True)
class Expected:
    """One step's mask, or one for each layer; bool tables with the diagonal, which a residual always carries."""

    masks: tuple[Mask, ...]
    #: bool `(L, L)` each.
    steps: tuple[torch.Tensor, ...]

    @staticmethod
    def of(expect: Mask | Sequence[Mask], length: int) -> Expected:
        """Raise `ArgumentError` or `GridError` when it cannot be asked about one sequence of this length."""
        masks = (expect,) if isinstance(expect, Mask) else tuple(expect) if isinstance(expect, Sequence) else ()
        if not masks or not all(isinstance(mask, Mask) for mask in masks):
            found = repr(expect) if isinstance(expect, (str, list, tuple)) else type(expect).__name__
            raise ArgumentError(
                f"expect is a mask, or one mask for each layer, got {found}; build one with mw.causal()"
            )
        return Expected(masks, tuple(step_table(mask, length) for mask in masks))

    @property
    def suspect(self) -> torch.Tensor:
        """bool `(L, L)`: what some layer forbids."""
        return ~torch.stack(self.steps).all(0)

    @property
    def spreads(self) -> bool:
        """Whether more layers reach further than one; then they must be counted."""
        return len(self.steps) > 1 or not torch.equal(through(self.steps[0], self.steps[0]), self.steps[0])

    def assign(self, names: Sequence[str]) -> list[int]:
        """Which mask each of these modules must keep, in the order of their calls."""
        if len(self.steps) == 1 or not names:
            return [0] * len(names)
        if len(names) == len(self.steps):
            return list(range(len(names)))
        # Several mixers to a layer: by the first number in their names, which counts the layers.
        layers = [next((part for part in name.split(".") if part.isdigit()), "") for name in names]
        order = list(dict.fromkeys(layers))
        if len(order) != len(self.steps) or "" in order:
            raise CannotRun(
                f"expect gives {len(self.steps)} masks, and the model has {len(names)} modules that mix positions: "
                f"{', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            )
        return [order.index(layer) for layer in layers]

    def reach(self, survey: Survey, layers: int | Literal["auto"], config: Any) -> tuple[torch.Tensor, int | None]:
        """bool `(L, L)`, what may influence what through the whole model, and through how many layers that is."""
        if len(self.steps) > 1:
            names = [mixer.name for mixer in survey.mixers]
            order = self.assign(names) if survey.complete else range(len(self.steps))
            total = torch.eye(len(self.steps[0]), dtype=torch.bool)
            for i in order:
                total = through(self.steps[i], total)
            return total, len(list(order))
        mask, step = self.masks[0], self.steps[0]
        count = layers if isinstance(layers, int) else _count(survey, config)
        if count is None:
            if self.spreads:
                raise CannotRun(
                    "the mask spreads with every layer, and the layers of this model cannot be counted: give layers="
                )
            return step, None
        bound = mask.bind(len(step)).reach(count)
        return torch.from_numpy(bound.dense()[0, 0].copy()), count


def through(then: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """bool: what reaches what through `first` and then `then`."""
    return (then.float() @ first.float()) > 0


def step_table(mask: Mask, length: int) -> torch.Tensor:
    """bool `(L, L)`: what any head may see in one step, and each position itself."""
    if mask.batch > 1:
        raise ArgumentError(
            f"an audit looks at one sequence, got a mask {mask!r} over {mask.batch}; pass the mask of one row"
        )
    try:
        dense = to_dense(mask.bind(length))
    except GridError as error:
        raise GridError(f"the expected mask must fit the {length} audited tokens: {error}") from None
    # An output is made of all heads, so it may depend on what any of them sees.
    return dense[0].any(0) | torch.eye(length, dtype=torch.bool)


def depth(layers: int | Literal["auto"]) -> int | Literal["auto"]:
    """`layers` as given, once it is known to be a count."""
    if layers == "auto":
        return layers
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
        raise ArgumentError(
            f'layers must be "auto" or an integer of at least 1, got {layers!r}; count the masked layers'
        )
    return layers


def _count(survey: Survey, config: Any) -> int | None:
    if survey.complete:
        return len(survey.mixers)
    for name in _COUNTS:
        if isinstance(count := getattr(config, name, None), int) and count >= 1:
            return count
    return None
