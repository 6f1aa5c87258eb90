"""Packed rows: `document` (same document) and `within` (a mask restarted in every document)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans
from .._arrays import Bools, Ints, as_ints, as_lengths
from .._extent import Extent, check_cover
from .._mask import Constant, Mask, Queries, common_batch
from .._questions.explain import Cell, Explanation, Row, explanation
from .._text.written import Written
from .ids import Groups


def document(lengths: Any = None, *, ids: Any = None) -> Mask:
    """`q` and `k` belong to the same document: the block-diagonal of sequence packing (Krell et al. 2021).

    Args:
        lengths: int `(documents,)` or `(B, documents)`: neighbours, one after the other. They sum to the sequence's
            length. A list of lists may be ragged.
        ids: int `(K,)` or `(B, K)`: each position's document, which need not be contiguous. An id below 0 belongs to
            none: that position sees nothing and nothing sees it.

    It says nothing about order: write `causal() & document(lengths)`.

    | library | its way to say `document` |
    | --- | --- |
    | flash-attention's varlen kernels | `cu_seqlens`, the cumulated lengths: see `from_cu_seqlens` |
    | Hugging Face, packed rows without padding | `position_ids` that restart at 0 in each document |
    | xFormers `BlockDiagonalMask.from_seqlens` | `lengths` |
    | MaxText `segment_ids` | `ids`, where 0 is padding: pass `segment_ids - 1` |

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
        return _ByLength(as_lengths(lengths, "document(lengths)"))
    return _ById(as_ints(ids, "document(ids)", ndims=(1, 2), minimum=None))


def as_masks(value: Any, name: str) -> tuple[Mask, ...]:
    """Several masks, checked."""
    if not isinstance(value, Sequence):
        raise MaskError(f"{name} takes masks, got {value!r:.60} ({type(value).__name__}); pass them as a list")
    for item in value:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(item, Mask):
            found = f"{item!r:.60} ({type(item).__name__})"  # pyright: ignore[reportUnknownArgumentType]
            raise MaskError(f"{name} takes masks, got {found}; build one with mw.causal() …")
    return tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def within(mask: Mask | Sequence[Mask], lengths: Any) -> Mask:
    """`mask` inside each document, where both positions restart at 0; nothing across documents.

    Args:
        mask: one mask for all documents, or a sequence with one for each (then `lengths` is one-dimensional).
        lengths: int `(documents,)` or `(B, documents)`, as for `document`.

    `generate_doc_mask_mod(mask_mod, offsets)` of `attn_gym` is this, with the cumulated lengths as offsets.
    `within(causal(), lengths)` allows the same cells as `causal() & document(lengths)`; a `prefix` or a chunk, though,
    starts anew in each document.

    >>> import maskwork as mw
    >>> mw.within(mw.prefix(1), [2, 2]).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    """
    if isinstance(mask, Mask):
        return _Within((mask,), as_lengths(lengths, "within(lengths)"))
    masks = as_masks(mask, "within")
    array = as_lengths(lengths, "within(lengths)", ndims=(1,))
    if len(masks) != len(array):
        raise MaskError(
            f"within takes one mask per document, got {len(masks)} masks for {len(array)} lengths; "
            "pass one mask for all, or as many masks as documents"
        )
    return _Within(masks if len(set(masks)) > 1 else masks[:1] or (Constant(False),), array)


class Packed(Mask):
    """A mask with parts laid end to end: what `document(lengths)`, `within` and `block_causal` share."""

    lengths: Ints

    @property
    def batch(self) -> int:
        return common_batch(1 if self.lengths.ndim == 1 else len(self.lengths), super().batch)

    @cached_property
    def _totals(self) -> Ints:
        return np.atleast_2d(self.lengths).sum(axis=1)

    def _documents(self, queries: Queries) -> tuple[Ints, Ints, Ints]:
        """int64 `(B, H, Q)` each: number, start and end of the document of every query.

        Looked up among the documents, so the cost follows what is asked, not how long the documents are.
        """
        lengths = np.atleast_2d(self.lengths)
        ends = lengths.cumsum(axis=1)
        asked = np.broadcast_to(queries, (max(len(queries), len(ends)), *queries.shape[1:]))
        number: Ints = np.zeros(asked.shape, dtype=np.int64)
        for b, row in enumerate(asked):
            number[b] = np.searchsorted(ends[b if len(ends) > 1 else 0], row, side="right")  # steps over empty ones
        which = np.arange(len(ends)).reshape(-1, 1, 1)
        end = ends[which, number]
        return number, end - lengths[which, number], end

    def _check(self, extent: Extent) -> None:
        check_cover(self, "lengths sum to", self._totals, extent)

    def _document_of(self, position: int, batch: int) -> tuple[int, int, int]:
        """The number, start and end of the document at one position, without the whole table."""
        lengths = self.lengths if self.lengths.ndim == 1 else self.lengths[batch]
        ends = lengths.cumsum()
        number = int(np.searchsorted(ends, position, side="right"))  # steps over empty documents
        return number, int(ends[number] - lengths[number]), int(ends[number])


class _ByLength(Packed):
    """See `document`."""

    def __init__(self, lengths: Ints) -> None:
        self.lengths = lengths

    def _written(self) -> Written:
        return Written("document", (self.lengths,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        _, starts, ends = self._documents(queries)
        return _runs(starts[None], ends[None], kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        # Two look-ups among the documents, where a row of geometry would make the table of all positions.
        numbers = {self._document_of(position, cell.batch)[0] for position in (cell.query, cell.key)}
        return explanation(self, cell, len(numbers) == 1, self._reason(cell, []))

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = (self._document_of(position, cell.batch) for position in (cell.query, cell.key))
        there = "document {} [{}, {})".format(*of_query)
        if of_query == of_key:
            return f"query {cell.query} and key {cell.key} are in {there}"
        return f"query {cell.query} is in {there}, key {cell.key} in " + "document {} [{}, {})".format(*of_key)


class _Within(Packed):
    """See `within`."""

    def __init__(self, masks: tuple[Mask, ...], lengths: Ints) -> None:
        self._hold(masks)
        self.masks, self.lengths = masks, lengths
        _ = self.batch, self.heads  # raises where the masks and the lengths speak of different ones

    def _written(self) -> Written:
        return Written("within", (self.masks[0] if len(self.masks) == 1 else self.masks, self.lengths))

    def _check(self, extent: Extent) -> None:
        check_cover(self, "lengths sum to", self._totals, extent)
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

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        number, starts, ends = self._documents(queries)
        longest = int(self.lengths.max(initial=0))
        if len(self.masks) == 1:
            inner = self.masks[0]._spans(queries - starts, longest)
            return _runs(
                np.minimum(inner.planes_starts + starts, ends),
                np.minimum(inner.planes_ends + starts, ends),
                kv_len,
            )
        return self._spans_of_each(queries, number, starts, ends, kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        """`document(lengths)` and the mask restarted: the second only has a say where the first agrees."""
        same = _ByLength(self.lengths)._explain(cell)
        number, start, end = self._document_of(cell.query, cell.batch)
        if not same.allowed:
            return explanation(self, cell, False, "query and key are in different documents", [same])
        mask = self.masks[number if len(self.masks) > 1 else 0]
        query, key = cell.query - start, cell.key - start
        inner = mask._explain(cell.move(query, key, int(self.lengths.max())))
        reason = f"in document {number} [{start}, {end}) query {cell.query} is {query} and key {cell.key} is {key}"
        return explanation(self, cell, inner.allowed, reason, [same, inner] if inner.allowed else [inner])

    def _spans_of_each(self, queries: Queries, number: Ints, starts: Ints, ends: Ints, kv_len: int) -> Spans:
        longest = int(self.lengths.max(initial=0))
        group_of = {mask: i for i, mask in enumerate(dict.fromkeys(self.masks))}
        group: Ints = np.array([group_of[mask] for mask in self.masks])[number]
        parts: list[tuple[Bools, Bools, Spans]] = []
        for (mask, own), index in zip(self._longest().items(), group_of.values(), strict=True):
            # Each mask is asked only about the columns where some batch row has one of its documents; the other rows
            # of those columns ask about position 0, since theirs may lie beyond what this mask's arrays cover.
            here: Bools = group == index
            columns = np.asarray(here.any(axis=(0, 1)), dtype=np.bool_)
            if columns.any():
                local = np.where(here, queries - starts, 0)[..., columns]
                parts.append((here[..., columns], columns, mask._spans(local, own)))
        lead = np.broadcast_shapes(group.shape[:2], *(part.shape[:2] for _, _, part in parts))
        shape = (max((part.runs for _, _, part in parts), default=1), *lead, group.shape[-1])
        first, last = np.full(shape, longest, dtype=np.int64), np.full(shape, longest, dtype=np.int64)
        for here, columns, part in parts:
            for side, planes in ((first, part.planes_starts), (last, part.planes_ends)):
                side[: part.runs, ..., columns] = np.where(here, planes, side[: part.runs, ..., columns])
        return _runs(np.minimum(first + starts, ends), np.minimum(last + starts, ends), kv_len)


class _ById(Mask):
    """See `document(ids=…)`."""

    def __init__(self, ids: Ints) -> None:
        self.ids = ids

    def _written(self) -> Written:
        return Written("document", named={"ids": self.ids})

    @property
    def batch(self) -> int:
        return 1 if self.ids.ndim == 1 else len(self.ids)

    def _check(self, extent: Extent) -> None:
        mend = "give each position its id, -1 where it is padding"
        check_cover(self, "ids number", np.array([self.ids.shape[-1]]), extent, mend=mend)

    @cached_property
    def _groups(self) -> Groups:
        return Groups(self.ids, self.ids)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return self._groups.spans(queries, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        ids = self.ids if self.ids.ndim == 1 else self.ids[cell.batch]
        q_id, k_id = int(ids[cell.query]), int(ids[cell.key])
        none = "; an id below 0 belongs to no document" if min(q_id, k_id) < 0 else ""
        return f"query {cell.query} is in document {q_id}, key {cell.key} in document {k_id}{none}"


def _runs(starts: Ints, ends: Ints, kv_len: int) -> Spans:
    """Sorted runs whose last ones may be cut empty, as `Spans` clipped to the keys."""
    first, last = np.minimum(starts, kv_len).astype(np.int32), np.minimum(ends, kv_len).astype(np.int32)
    empty = first >= last
    if empty.any():
        first, last = np.where(empty, np.int32(kv_len), first), np.where(empty, np.int32(kv_len), last)
    return Spans(first, last, kv_len).trim()
