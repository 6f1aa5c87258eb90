"""Packed rows: `document` (same document) and `within` (a mask restarted in every document)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GridError, MaskError
from ..spans import Spans, check_budget
from ._arrays import Ints, array_key, array_repr, as_ints
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
        return _ByLength(as_ints(lengths, "document(lengths)", ndims=(1, 2)))
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
        return _Within((mask,), as_ints(lengths, "within(lengths)", ndims=(1, 2)))
    masks = tuple(mask)
    array = as_ints(lengths, "within(lengths)", ndims=(1,))
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

    @cached_property
    def _table(self) -> tuple[Ints, Ints]:
        """int64 `(B, T)` each: where the document of every position starts and ends."""
        rows = np.atleast_2d(self.lengths)
        ends = rows.cumsum(axis=1)
        longest = int(self._totals.max(initial=0))
        table = np.zeros((2, len(rows), longest), dtype=np.int64)
        for b, (length, end) in enumerate(zip(rows, ends, strict=True)):
            table[0, b, : end[-1] if len(end) else 0] = np.repeat(end - length, length)
            table[1, b, : end[-1] if len(end) else 0] = np.repeat(end, length)
        return table[0], table[1]

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
        starts, ends = (look_up(table, queries) for table in self._table)
        return _runs(starts[None], ends[None], kv_len)


class _Within(_Packed):
    """See `within`."""

    def __init__(self, masks: tuple[Mask, ...], lengths: Ints) -> None:
        self.masks, self.lengths = masks, lengths

    def _identity(self) -> tuple[Any, ...]:
        return ("within", tuple(mask._key for mask in self.masks), *array_key(self.lengths))

    @property
    def batch(self) -> int:
        return common_batch(super().batch, *(mask.batch for mask in self.masks))

    def _check(self, extent: Extent) -> None:
        super()._check(extent)
        longest = int(self.lengths.max(initial=0))
        for mask in self.masks:
            mask._check(Extent(longest, longest, whole=False))

    def _text(self) -> str:
        inner = self.masks[0]._text()
        if len(self.masks) > 1:
            inner = "[" + ", ".join(mask._text() for mask in self.masks) + "]"
        return f"within({inner}, {array_repr(self.lengths)})"

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        starts, ends = (look_up(table, queries) for table in self._table)
        longest = int(self.lengths.max(initial=0))
        if len(self.masks) == 1:
            inner = self.masks[0]._spans(queries - starts, longest)
            return _runs(
                np.minimum(inner.planes_starts + starts, ends),
                np.minimum(inner.planes_ends + starts, ends),
                kv_len,
            )
        return self._spans_of_each(queries, starts, ends, kv_len)

    def _spans_of_each(self, queries: Queries, starts: Ints, ends: Ints, kv_len: int) -> Spans:
        which = look_up(np.repeat(np.arange(len(self.lengths)), self.lengths)[None], queries)
        longest = int(self.lengths.max(initial=0))
        group_of = {mask: i for i, mask in enumerate(dict.fromkeys(self.masks))}
        group = np.array([group_of[mask] for mask in self.masks])[which]
        parts: list[tuple[npt.NDArray[np.bool_], Spans]] = []
        for mask, index in group_of.items():
            rows: npt.NDArray[np.bool_] = (group == index).any(axis=(0, 1))
            here = mask._spans((queries - starts)[..., rows], longest)
            parts.append((rows, here.expand((*np.broadcast_shapes(here.shape[:2], (1, 1)), int(rows.sum())))))  # type: ignore[arg-type]
        runs = max(part.runs for _, part in parts)
        lead = np.broadcast_shapes(*(part.shape[:2] for _, part in parts))
        shape = (runs, *lead, which.shape[-1])
        first, last = np.full(shape, longest, dtype=np.int64), np.full(shape, longest, dtype=np.int64)
        for rows, part in parts:
            first[: part.runs, ..., rows] = part.planes_starts
            last[: part.runs, ..., rows] = part.planes_ends
        return _runs(np.minimum(first + starts, ends), np.minimum(last + starts, ends), kv_len)


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
    first, last = np.minimum(starts, kv_len).astype(np.int32), np.minimum(ends, kv_len).astype(np.int32)
    empty = first >= last
    if empty.any():
        first, last = np.where(empty, np.int32(kv_len), first), np.where(empty, np.int32(kv_len), last)
    return Spans(first, last, kv_len).trim()


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
