"""One mask for each head or batch row: `per_head` and `per_row`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import MaskError
from ...spans import Spans, check_budget
from .._mask import Mask, Queries, as_masks
from .._questions.explain import Cell, Explanation, explanation
from .._text.registry import Form, atom
from .._text.spec import Spec


class _Per(Mask):
    """The base of `per_head` and `per_row`: along one axis, index i of the result is index i of operand i."""

    name: str
    #: The axis of (B, H, Q).
    axis: int
    #: The axis in words, for messages.
    axis_name: str

    def __init__(self, masks: tuple[Mask, ...]) -> None:
        self._set_operands(masks)
        self.depends_on_query = any(mask.depends_on_query for mask in masks)
        self.relative = all(mask.relative for mask in masks)
        self.many_runs = any(mask.many_runs for mask in masks)
        for mask in masks:
            size = (mask.batch, mask.heads)[self.axis]
            # A mask may itself differ along this axis, if it has as many entries as there are masks.
            if size not in (1, len(masks)):
                raise MaskError(
                    f"{self.name} takes one mask for each of the {self.axis_name}, got {len(masks)}, of which {mask!r} "
                    f"has {size} {self.axis_name} itself; pass {size} masks, or masks that are the same for all "
                    f"{self.axis_name}"
                )
        _ = self.batch, self.heads  # raises if the masks differ on the other axis

    def _spec(self) -> Spec:
        return Spec(self.name, (self.operands,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        count = len(self.operands)
        parts: list[Spans] = []
        for i, mask in enumerate(self.operands):
            positions = queries if queries.shape[self.axis] == 1 else queries.take([i], self.axis)
            spans = mask._spans(positions, kv_len)
            parts.append(spans if spans.shape[self.axis] == 1 else _only(spans, self.axis, i))
        # The parts side by side along the axis, each filled up with empty runs to the most runs of any part.
        runs = max(part.runs for part in parts)
        part_shape = np.broadcast_shapes(*(part.shape for part in parts))
        shape = (*part_shape[: self.axis], count, *part_shape[self.axis + 1 :])
        check_budget(runs, int(np.prod(shape)))
        starts, ends = (np.full((runs, *shape), kv_len, dtype=np.int32) for _ in range(2))
        for i, part in enumerate(parts):
            slab = (slice(part.runs), *(slice(i, i + 1) if axis == self.axis else slice(None) for axis in range(3)))
            starts[slab], ends[slab] = part.planes_starts, part.planes_ends
        return Spans(starts, ends, kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        i = (cell.batch, cell.head)[self.axis]
        inner = self.operands[i]._explain(cell)
        return explanation(self, cell, inner.allowed, f"number {i} of its {self.axis_name}", [inner])


def _only(spans: Spans, axis: int, i: int) -> Spans:
    """Return index `i` of one axis, which stays as an axis of size 1."""
    starts, ends = (planes.take([i], axis + 1) for planes in (spans.planes_starts, spans.planes_ends))
    return Spans(starts, ends, spans.kv_len).trim()


class _PerHead(_Per):
    """The mask of `per_head`."""

    name, axis, axis_name = "per_head", 1, "heads"

    @property
    def heads(self) -> int:
        return len(self.operands)


class _PerRow(_Per):
    """The mask of `per_row`."""

    name, axis, axis_name = "per_row", 0, "batch rows"

    @property
    def batch(self) -> int:
        return len(self.operands)


@atom(Form("per_head([…])", "", "what the mask of each query head allows"))
def per_head(masks: Sequence[Mask]) -> Mask:
    """Allow in query head `h` what `masks[h]` allows: local and global heads in one layer.

    DuoAttention (Xiao et al. 2024). FlexAttention's `mask_mod` reads `h` for this; flash-attention takes one window for
    all heads.

    Args:
        masks: one for each query head. With grouped-query attention that is `Hq`, not `Hkv`. A list of one mask is
            that mask, for all heads.

    Raises:
        MaskError: no masks, or a mask that differs between another number of heads.

    >>> import maskwork as mw
    >>> mask = mw.per_head([mw.causal(), mw.causal() & mw.sliding_window(2)])
    >>> mask.bind(4).dense().sum(axis=(2, 3)).tolist()
    [[10, 7]]
    """
    return _one_or_all(_PerHead, as_masks(masks, "per_head"))


@atom(Form("per_row([…])", "", "what the mask of each batch row allows"))
def per_row(masks: Sequence[Mask]) -> Mask:
    """Allow in batch row `b` what `masks[b]` allows: objectives mixed in one batch, as in UL2 (Tay et al. 2022).

    FlexAttention's `mask_mod` reads `b` for this; other libraries take a 4-D array.

    Args:
        masks: one for each batch row. A list of one mask is that mask, for all rows.

    Raises:
        MaskError: no masks, or a mask that differs between another number of batch rows.

    >>> import maskwork as mw
    >>> mw.per_row([mw.causal(), mw.full()]).bind(3).dense().sum(axis=(2, 3)).tolist()
    [[6], [9]]
    """
    return _one_or_all(_PerRow, as_masks(masks, "per_row"))


def _one_or_all(kind: type[_PerHead] | type[_PerRow], masks: tuple[Mask, ...]) -> Mask:
    if not masks:
        raise MaskError(f"{kind.name} takes at least one mask, got none; pass one for each of the {kind.axis_name}")
    return masks[0] if len(masks) == 1 else kind(masks)
