"""Packed rows: `document` (same document) and `within` (a mask restarted in every document)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import GridError, MaskError
from ..spans import Spans, check_budget, union
from ._arrays import Ints, array_key, array_repr, as_ints, as_lengths
from ._mask import Extent, Mask, Queries, common_batch


def document(lengths: Any = None, *, ids: Any = None) -> Mask:
    """`q` and `k` belong to the same document: the block-diagonal of sequence packing (Krell et al. 2021).

    Args:
        lengths: int `(documents,)` or `(B, documents)`: neighbours, one after the other. They sum to the sequence's
            length. A list of lists may be ragged.
        ids: int `(K,)` or `(B, K)`: each position's document, which need not be contiguous. An id below 0 belongs to
            none: that position sees nothing and nothing sees it.

    It says nothing about order: write `causal() & document(lengths)`.

    >>> import maskwork as mw
    >>> mw.document([2, 1]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    >>> mw.document(ids=[0, 1, 0]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    if (lengths is None) == (ids is None):
        given = "neither" if lengths is None else "both"
        raise MaskError(f"document takes either lengths or ids, got {given}; pass exactly one")
    if lengths is not None:
        return _ByLength(as_lengths(lengths, "document(lengths)", ndims=(1, 2)))
    return _ById(as_ints(ids, "document(ids)", ndims=(1, 2), minimum=None))


def within(mask: Mask | Sequence[Mask], lengths: Any) -> Mask:
    """`mask` inside each document, where both positions restart at 0; nothing across documents.

    Args:
        mask: one mask for all documents, or a sequence with one for each (then `lengths` is one-dimensional).
        lengths: int `(documents,)` or `(B, documents)`, as for `document`.

    `within(causal(), lengths)` allows the same cells as `causal() & document(lengths)`; a `prefix` or a chunk, though,
    starts anew in each document.

    >>> import maskwork as mw
    >>> mw.within(mw.prefix(1), [2, 2]).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    """
    if isinstance(mask, Mask):
        return _Within((mask,), as_lengths(lengths, "within(lengths)", ndims=(1, 2)))
    if not isinstance(mask, (list, tuple)) or not mask:
        raise MaskError(
            f"within takes a mask or a list of masks, got {mask!r:.60}; pass mw.causal(), or one mask per document"
        )
    masks = tuple(mask)
    array = as_lengths(lengths, "within(lengths)", ndims=(1,))
    for item in masks:
        if not isinstance(item, Mask):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MaskError(f"within takes masks, got {item!r} ({type(item).__name__}); build one with mw.causal() …")
    if len(masks) != len(array):
        raise MaskError(
            f"within takes one mask per document, got {len(masks)} masks for {len(array)} lengths; "
            "pass one mask for all, or as many masks as documents"
        )
    return _Within(masks if len(set(masks)) > 1 else masks[:1], array)


class _Packed(Mask):
    """A mask with documents laid end to end: what `document(lengths)` and `within` share."""

    lengths: Ints

    @property
    def batch(self) -> int:
        return 1 if self.lengths.ndim == 1 else len(self.lengths)

    @cached_property
    def _totals(self) -> Ints:
        return np.atleast_2d(self.lengths).sum(axis=1)

    def _bounds(self, queries: Queries) -> tuple[Ints, Ints]:
        """int64 `(B, H, Q)` each: where the document of every query starts and ends."""
        reach = int(queries.max(initial=-1)) + 1  # no table beyond what is asked, however long the documents
        rows = np.atleast_2d(self.lengths)
        ends = rows.cumsum(axis=1)
        table = np.zeros((2, len(rows), reach), dtype=np.int64)
        for b, (length, end) in enumerate(zip(rows, ends, strict=True)):
            within_reach = np.diff(np.minimum(end, reach), prepend=0)
            table[0, b] = np.repeat(end - length, within_reach)
            table[1, b] = np.repeat(end, within_reach)
        return look_up(table[0], queries), look_up(table[1], queries)

    def _check(self, extent: Extent) -> None:
        check_cover(self, "lengths sum to", self._totals, extent)


class _ByLength(_Packed):
    """See `document`."""

    def __init__(self, lengths: Ints) -> None:
        self.lengths = lengths

    def _identity(self) -> tuple[Any, ...]:
        return ("document", "lengths", *array_key(self.lengths))

    def _text(self) -> str:
        return f"document({array_repr(self.lengths)})"

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        starts, ends = self._bounds(queries)
        return _runs(starts[None], ends[None], kv_len)


class _Within(_Packed):
    """See `within`."""

    def __init__(self, masks: tuple[Mask, ...], lengths: Ints) -> None:
        self.masks, self.lengths = masks, lengths
        common_batch(super().batch, *(mask.batch for mask in masks))  # raises here, not when it is used

    def _identity(self) -> tuple[Any, ...]:
        return ("within", tuple(mask._key for mask in self.masks), *array_key(self.lengths))

    @property
    def batch(self) -> int:
        return common_batch(super().batch, *(mask.batch for mask in self.masks))

    def _check(self, extent: Extent) -> None:
        super()._check(extent)
        for mask, longest in self._longest().items():
            mask._check(Extent(longest, longest, whole=False))

    def _longest(self) -> dict[Mask, int]:
        """Each distinct mask with the length of the longest document that it is asked about."""
        if len(self.masks) == 1:
            return {self.masks[0]: int(self.lengths.max(initial=0))}
        longest: dict[Mask, int] = {}
        for mask, length in zip(self.masks, self.lengths.tolist(), strict=True):
            longest[mask] = max(length, longest.get(mask, 0))
        return longest

    def _text(self) -> str:
        inner = self.masks[0]._text()
        if len(self.masks) > 1:
            inner = "[" + ", ".join(mask._text() for mask in self.masks) + "]"
        return f"within({inner}, {array_repr(self.lengths)})"

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        starts, ends = self._bounds(queries)
        if len(self.masks) == 1:
            inner = self.masks[0]._spans(queries - starts, int(self.lengths.max(initial=0)))
            return _runs(
                np.minimum(inner.planes_starts + starts, ends), np.minimum(inner.planes_ends + starts, ends), kv_len
            )
        return self._spans_of_each(queries, starts, ends, kv_len)

    def _spans_of_each(self, queries: Queries, starts: Ints, ends: Ints, kv_len: int) -> Spans:
        """Every distinct mask on the rows of its own documents, joined row by row."""
        numbers = {mask: i for i, mask in enumerate(self._longest())}
        of_document = np.array([numbers[mask] for mask in self.masks])
        document_of = np.searchsorted(self.lengths.cumsum(), queries, side="right")
        nothing = np.full((1, *queries.shape), kv_len, dtype=np.int32)
        out = Spans(nothing, nothing, kv_len)
        for mask, longest in self._longest().items():
            mine = of_document[document_of] == numbers[mask]
            if not mine.any():
                continue
            # Rows of other documents ask about position 0: theirs may lie beyond what this mask's arrays cover.
            inner = mask._spans(np.where(mine, queries - starts, 0), longest)
            first, last = (np.minimum(plane + starts, ends) for plane in (inner.planes_starts, inner.planes_ends))
            out = union(out, _runs(np.where(mine, first, kv_len), np.where(mine, last, kv_len), kv_len))
        return out


class _ById(Mask):
    """See `document(ids=…)`."""

    def __init__(self, ids: Ints) -> None:
        self.ids = ids

    def _identity(self) -> tuple[Any, ...]:
        return ("document", "ids", *array_key(self.ids))

    @property
    def batch(self) -> int:
        return 1 if self.ids.ndim == 1 else len(self.ids)

    def _text(self) -> str:
        return f"document(ids={array_repr(self.ids)})"

    def _check(self, extent: Extent) -> None:
        check_cover(self, "ids number", np.array([self.ids.shape[-1]]), extent)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        rows = [_runs_of_ids(row, kv_len) for row in np.atleast_2d(self.ids)]
        runs = max(starts.shape[0] for starts, _ in rows)
        check_budget(runs, max(queries.size, queries.shape[-1] * len(rows)))
        shape = (runs, len(rows), self.ids.shape[-1])
        table = np.full((2, *shape), kv_len, dtype=np.int64)
        for b, pair in enumerate(rows):
            for side, values in enumerate(pair):
                table[side, : len(values), b] = values
        starts, ends = (np.stack([look_up(plane, queries) for plane in planes]) for planes in table)
        return _runs(starts, ends, kv_len)


def _runs_of_ids(ids: Ints, kv_len: int) -> tuple[Ints, Ints]:
    """int64 `(R, T)` each: for every position, the runs of keys that carry its id."""
    keys = ids[:kv_len]
    edges = np.flatnonzero(np.diff(keys)) + 1
    first = np.concatenate([[0], edges]) if len(keys) else np.zeros(0, dtype=np.int64)
    last = np.concatenate([edges, [len(keys)]]) if len(keys) else np.zeros(0, dtype=np.int64)
    names, of_position = np.unique(ids, return_inverse=True)
    of_run = np.searchsorted(names, keys[first])
    order = np.argsort(of_run, kind="stable")
    count = np.bincount(of_run, minlength=len(names))
    rank = np.arange(len(order)) - np.repeat(count.cumsum() - count, count)
    runs = int(count[names >= 0].max(initial=1))
    starts = np.full((runs, len(names)), kv_len, dtype=np.int64)
    ends = starts.copy()
    keep = names[of_run[order]] >= 0
    where = (rank[keep], of_run[order][keep])
    starts[where], ends[where] = first[order][keep], last[order][keep]
    return starts[:, of_position], ends[:, of_position]


def look_up(table: Ints, queries: Queries) -> Ints:
    """`table[b, queries]` as `(B, H, Q)`, for a table `(B, T)`."""
    if len(queries) == 1:
        return table[:, queries[0]]
    return np.take_along_axis(np.broadcast_to(table, (len(queries), table.shape[1]))[:, None], queries, axis=2)


def _runs(starts: Ints, ends: Ints, kv_len: int) -> Spans:
    """Sorted runs whose last ones may be cut empty, as `Spans` clipped to the keys."""
    starts, ends = np.minimum(starts, kv_len), np.minimum(ends, kv_len)
    empty = starts >= ends
    starts, ends = np.where(empty, kv_len, starts), np.where(empty, kv_len, ends)
    return Spans(starts.astype(np.int32), ends.astype(np.int32), kv_len).trim()


def check_cover(mask: Mask, what: str, covered: Ints, extent: Extent) -> None:
    """An array parameter covers every position of the grid, and of a whole sequence nothing more."""
    need = max(extent.queries, extent.keys)
    short, most = int(covered.min(initial=need)), int(covered.max(initial=0))
    if short < need:
        raise GridError(
            f"the {what} at least the grid's {need} positions, or cells would be undefined; those of {mask!r} reach "
            f"{short}; lengthen them, or give the padding a document of its own"
        )
    if extent.whole and most > need:
        raise GridError(
            f"the {what} exactly the grid's {need} positions; those of {mask!r} reach {most}; shorten them, or bind a "
            "part of a longer sequence by giving q_start"
        )
