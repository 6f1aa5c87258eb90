"""One mask for each head or batch row: `per_head` and `per_row`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import MaskError
from ...spans import Spans, check_budget
from .._mask import Mask, Queries
from .._questions.explain import Cell, Explanation, explanation
from .._text.written import Written
from .documents import as_masks


class _Per(Mask):
    """What `per_head` and `per_row` share: row i of one axis is row i of operand i."""

    name: str
    axis: int  #: of (B, H, Q)
    what: str

    def __init__(self, masks: tuple[Mask, ...]) -> None:
        self._hold(masks)
        self.depends_on_query = any(mask.depends_on_query for mask in masks)
        self.relative = all(mask.relative for mask in masks)
        for mask in masks:
            size = (mask.batch, mask.heads)[self.axis]
            if size not in (1, len(masks)):
                raise MaskError(
                    f"{self.name} takes one mask for each of the {self.what}, got {len(masks)}, of which {mask!r} "
                    f"speaks of {size} itself; pass as many masks as that, or masks that do not speak of {self.what}"
                )
        _ = self.batch, self.heads  # raises where the masks disagree on the other axis

    def _written(self) -> Written:
        return Written(self.name, (self.operands,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        count = len(self.operands)
        parts: list[Spans] = []
        for i, mask in enumerate(self.operands):
            at = queries if queries.shape[self.axis] == 1 else queries.take([i], self.axis)
            spans = mask._spans(at, kv_len)
            parts.append(spans if spans.shape[self.axis] == 1 else _only(spans, self.axis, i))
        runs = max(part.runs for part in parts)
        one = np.broadcast_shapes(*(part.shape for part in parts))
        shape = (*one[: self.axis], count, *one[self.axis + 1 :])
        check_budget(runs, int(np.prod(shape)))
        starts, ends = (np.full((runs, *shape), kv_len, dtype=np.int32) for _ in range(2))
        for i, part in enumerate(parts):
            here = (slice(part.runs), *(slice(i, i + 1) if axis == self.axis else slice(None) for axis in range(3)))
            starts[here], ends[here] = part.planes_starts, part.planes_ends
        return Spans(starts, ends, kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        i = (cell.batch, cell.head)[self.axis]
        inner = self.operands[i]._explain(cell)
        return explanation(self, cell, inner.allowed, f"number {i} of its {self.what}", [inner])


def _only(spans: Spans, axis: int, i: int) -> Spans:
    starts, ends = (planes.take([i], axis + 1) for planes in (spans.planes_starts, spans.planes_ends))
    return Spans(starts, ends, spans.kv_len).trim()


class _PerHead(_Per):
    name, axis, what = "per_head", 1, "heads"

    @property
    def heads(self) -> int:
        return len(self.operands)


class _PerRow(_Per):
    name, axis, what = "per_row", 0, "batch rows"

    @property
    def batch(self) -> int:
        return len(self.operands)


def per_head(masks: Sequence[Mask]) -> Mask:
    """Query head `h` sees what `masks[h]` allows: local and global heads in one layer (DuoAttention, Xiao et al. 2024).

    FlexAttention's `mask_mod` reads `h` for it; flash-attention takes one window for all heads.

    Args:
        masks: one for each query head. With grouped-query attention that is `Hq`, not `Hkv`.

    A list of one mask is that mask, and speaks of all heads.

    >>> import maskwork as mw
    >>> mask = mw.per_head([mw.causal(), mw.causal() & mw.sliding_window(2)])
    >>> mask.bind(4).dense().sum(axis=(2, 3)).tolist()
    [[10, 7]]
    """
    return _one_or_all(_PerHead, as_masks(masks, "per_head"))


def per_row(masks: Sequence[Mask]) -> Mask:
    """Batch row `b` sees what `masks[b]` allows: rows of different kinds in one batch, as UL2 mixes (Tay et al. 2022).

    FlexAttention's `mask_mod` reads `b` for it; others take a 4-D array.

    Args:
        masks: one for each batch row. A list of one mask is that mask, and speaks of all rows.

    >>> import maskwork as mw
    >>> mw.per_row([mw.causal(), mw.full()]).bind(3).dense().sum(axis=(2, 3)).tolist()
    [[6], [9]]
    """
    return _one_or_all(_PerRow, as_masks(masks, "per_row"))


def _one_or_all(kind: type[_PerHead] | type[_PerRow], masks: tuple[Mask, ...]) -> Mask:
    if not masks:
        raise MaskError(f"{kind.name} takes at least one mask, got none; pass one for each of the {kind.what}")
    return masks[0] if len(masks) == 1 else kind(masks)
