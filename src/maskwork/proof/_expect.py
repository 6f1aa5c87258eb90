"""The expected masks, one or one for each layer, as tables of which position may influence which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .._shared.numbers import at_least, is_integer
from ..errors import ArgumentError, GridError
from ..lower import to_dense
from ..masks import Mask
from ._probes.subject import CannotRun
from ._probes.survey import Survey

# The names that configurations give to the number of their layers.
_COUNTS = ("layers", "num_hidden_layers", "n_layer", "num_layers", "n_layers")


@dataclass(frozen=True)
class Expected:
    """One mask for every layer, or one mask for each.

    Attributes:
        masks: the masks.
        tables: bool `(L, L)` each, with the diagonal, which a residual connection always carries.
    """

    masks: tuple[Mask, ...]
    tables: tuple[torch.Tensor, ...]

    @staticmethod
    def from_masks(expect: Mask | Sequence[Mask], length: int) -> Expected:
        """Build the tables; raise `ArgumentError` or `GridError` when a mask does not fit one such sequence."""
        masks = (expect,) if isinstance(expect, Mask) else tuple(expect) if isinstance(expect, Sequence) else ()
        if not masks or not all(isinstance(mask, Mask) for mask in masks):
            got = repr(expect) if isinstance(expect, (str, list, tuple)) else type(expect).__name__
            raise ArgumentError(f"expect is a mask, or one mask for each layer, got {got}; build one with mw.causal()")
        return Expected(masks, tuple(table_of(mask, length) for mask in masks))

    @property
    def suspect(self) -> torch.Tensor:
        """Pairs that some layer forbids, bool `(L, L)`."""
        return ~torch.stack(self.tables).all(0)

    @property
    def spreads(self) -> bool:
        """Whether more layers reach further than one; then they must be counted."""
        table = self.tables[0]
        return len(self.tables) > 1 or not torch.equal(through(table, table), table)

    def assign(self, names: Sequence[str]) -> list[int]:
        """Assign a mask, by its index, to each of these modules that mix positions, in the order of their calls."""
        if len(self.tables) == 1 or not names:
            return [0] * len(names)
        if len(names) == len(self.tables):
            return list(range(len(names)))
        # Several mixers to a layer: by the first number in their names, which counts the layers.
        # blocks.3.attention -> "3"; a name without a number belongs to no layer.
        layers = [next((part for part in name.split(".") if part.isdigit()), "") for name in names]
        order = list(dict.fromkeys(layers))
        if len(order) != len(self.tables) or "" in order:
            raise CannotRun(
                f"expect gives {len(self.tables)} masks, and the model has {len(names)} modules that mix positions: "
                f"{', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            )
        return [order.index(layer) for layer in layers]

    def reach(self, survey: Survey, layers: int | Literal["auto"], config: Any) -> tuple[torch.Tensor, int | None]:
        """Return bool `(L, L)`, the pairs that may influence through the whole model, and through how many layers."""
        table = self.tables[0]
        if len(self.tables) > 1:
            names = [mixer.name for mixer in survey.mixers]
            # Without a complete survey the masks are taken to be of the layers in their order.
            order = self.assign(names) if survey.complete else range(len(self.tables))
            total = torch.eye(len(table), dtype=torch.bool)
            for i in order:
                total = through(self.tables[i], total)
            return total, len(list(order))
        count = _count(survey, config) if layers == "auto" else layers
        if count is None:
            if self.spreads:
                raise CannotRun(
                    "the mask spreads with every layer, and the layers of this model cannot be counted: give layers="
                )
            return table, None
        # A table holds its diagonal, so each layer adds pairs until no pair is left to add.
        total = table
        for _ in range(1, count):
            further = through(table, total)
            if torch.equal(further, total):
                break
            total = further
        return total, count


def through(second: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """Compose two bool tables `(Q, M)` and `(M, K)`: the pairs that influence through `first` and then `second`."""
    return (second.float() @ first.float()) > 0


def table_of(mask: Mask, length: int) -> torch.Tensor:
    """Return bool `(L, L)`: the keys that any head of one layer may see, and each position itself."""
    if mask.batch > 1:
        raise ArgumentError(
            f"an audit looks at one sequence, got a mask {mask!r} over {mask.batch}; pass the mask of one row"
        )
    try:
        dense = to_dense(mask.bind(length))
    except GridError as error:
        raise GridError(f"the expected mask must fit the {length} audited tokens: {error}") from None
    # An output is made of all heads, so it may depend on any key that one of them sees.
    return dense[0].any(0) | torch.eye(length, dtype=torch.bool)


def sees_later_keys(mask: Mask, length: int) -> bool:
    """Return whether any position may see a later one."""
    return bool(table_of(mask, length).triu(1).any())


def layer_count(layers: int | Literal["auto"]) -> int | Literal["auto"]:
    """Check the argument `layers`: "auto", or an integer of at least 1."""
    if layers == "auto":
        return layers
    if not is_integer(layers):
        raise ArgumentError(f'layers must be "auto" or an integer, got {layers!r}; count the masked layers')
    return at_least(layers, 1, "layers")


def _count(survey: Survey, config: Any) -> int | None:
    if survey.complete:
        return len(survey.mixers)
    for name in _COUNTS:
        if is_integer(count := getattr(config, name, None)) and int(count) >= 1:
            return int(count)
    return None
