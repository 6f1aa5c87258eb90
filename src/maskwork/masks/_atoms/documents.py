"""Packed rows: `document` (same document) and `within` (a mask restarted in every document)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import Spans
from .._arrays import Bools, Ints, as_ints, as_lengths, batch_of, batch_row
from .._before_zero import from_zero
from .._extent import Extent, check_cover
from .._joined import Constant
from .._mask import Mask, Queries, as_masks, common_batch
from .._questions.explain import Cell, Explanation, Row, explain_atom, explanation
from .._text.registry import Form, atom
from .._text.spec import Spec
from .ids import Groups


@atom(
    Form("document(lengths)", "", "`q` and `k` lie in the same document"),
    Form("document(ids=…)", "ids[q] == ids[k] >= 0", "the same document, in pieces or not"),
    Form("document(position_ids=…)", "", "the same document, whose positions count up by 1"),
)
def document(lengths: Any = None, *, ids: Any = None, position_ids: Any = None) -> Mask:
    """Allow `q` and `k` in the same document: the block-diagonal of sequence packing (Krell et al. 2021).

    `document` puts no condition on order: write `causal() & document(lengths)`.

    Args:
        lengths: int `(documents,)` or `(B, documents)`: lengths of documents one after the other. They sum to the
            sequence's length. A list of lists may be ragged.
        ids: int `(K,)` or `(B, K)`: each position's document, which need not be contiguous. A position with an id
            below 0 belongs to no document: it sees nothing and no query sees it.
        position_ids: int `(K,)` or `(B, K)`: each position's place in its document, as packed rows of Hugging Face
            carry it. A document starts wherever the number is not the one before plus 1; a position below 0 belongs to
            no document. The mask is that of the documents' lengths, or of their ids where some positions are below 0.

    Raises:
        MaskError: not exactly one is given, or `ids` are position ids: rows that count up from 0 again and again.
            Should they be ids all the same, add 1 to each: only which ids are equal counts.
        GridError: on binding, the documents do not cover the grid.

    | library | its way to say `document` |
    | --- | --- |
    | flash-attention's varlen kernels | `cu_seqlens`, the cumulated lengths: see `from_cu_seqlens` |
    | Hugging Face, packed rows without padding | `position_ids` that restart at 0: pass `position_ids=` |
    | xFormers `BlockDiagonalMask.from_seqlens` | `lengths` |
    | MaxText `segment_ids` | `ids`, where 0 is padding: pass `segment_ids - 1` |

    >>> import maskwork as mw
    >>> mw.document([2, 1]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    >>> mw.document(ids=[0, 1, 0]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    given = [value for value in (lengths, ids, position_ids) if value is not None]
    if len(given) != 1:
        fault = "neither" if not given else "both" if len(given) == 2 else "all three"
        raise MaskError(f"document takes either lengths or ids or position_ids, got {fault}; pass exactly one")
    if lengths is not None:
        return _ByLength(as_lengths(lengths, "document(lengths)"))
    if position_ids is not None:
        return _by_position(as_ints(position_ids, "document(position_ids)", ndims=(1, 2), minimum=None))
    array = as_ints(ids, "document(ids)", ndims=(1, 2), minimum=None)
    if _count_up(np.atleast_2d(array)):
        raise MaskError(
            "document(ids) takes one number for each document, got rows that count up from 0 again and again, as "
            "position ids do; pass document(position_ids=…), or ids + 1 if they are ids"
        )
    return _ById(array)


@atom(Form("within(mask, lengths)", "", "`mask` allows it, with both positions restarted in each document"))
def within(mask: Mask | Sequence[Mask], lengths: Any) -> Mask:
    """Allow what `mask` allows inside each document, where both positions restart at 0; nothing across documents.

    Args:
        mask: one mask for all documents, or a sequence with one for each (then `lengths` is one-dimensional).
        lengths: int `(documents,)` or `(B, documents)`, as for `document`.

    Raises:
        MaskError: not as many masks as documents, or a mask of another batch size than the lengths.
        GridError: on binding, the documents do not cover the grid, or an array inside `mask` not its document.

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
    # Equal masks for all documents are one mask; without documents no cell is allowed.
    return _Within(masks if len(set(masks)) > 1 else masks[:1] or (Constant(False),), array)


class Packed(Mask):
    """The base of `document(lengths)`, `within` and `block_causal`: documents laid end to end."""

    # lengths          3    0   2      the second document is empty: no position is in it
    # positions    0 1 2        3 4
    # ends             3    3   5      searched for the document of a position

    lengths: Ints

    @property
    def batch(self) -> int:
        return common_batch(batch_of(self.lengths), super().batch)

    @cached_property
    def _totals(self) -> Ints:
        return np.atleast_2d(self.lengths).sum(axis=1)

    def _documents(self, queries: Queries) -> tuple[Ints, Ints, Ints]:
        """Return number, start and end of the document of every query: int64 `(B, H, Q)` each.

        A binary search among the documents: the cost depends on the number of queries, not on the documents' lengths.
        """
        lengths = np.atleast_2d(self.lengths)
        ends = lengths.cumsum(axis=1)
        positions = np.broadcast_to(queries, (max(len(queries), len(ends)), *queries.shape[1:]))
        number: Ints = np.zeros(positions.shape, dtype=np.int64)
        for b, row in enumerate(positions):
            # side="right" skips empty documents, which end where the one before them does.
            number[b] = np.searchsorted(ends[b if len(ends) > 1 else 0], row, side="right")
        batch_row = np.arange(len(ends)).reshape(-1, 1, 1)
        end = ends[batch_row, number]
        return number, end - lengths[batch_row, number], end

    def _check(self, extent: Extent) -> None:
        check_cover(self, "lengths sum to", self._totals, extent)

    def _document_of(self, position: int, batch: int) -> tuple[int, int, int]:
        """Return number, start and end of the document at one position, without a table of all queries."""
        lengths = batch_row(self.lengths, batch)
        ends = lengths.cumsum()
        number = int(np.searchsorted(ends, position, side="right"))
        return number, int(ends[number] - lengths[number]), int(ends[number])


class _ByLength(Packed):
    """The mask of `document(lengths)`."""

    def __init__(self, lengths: Ints) -> None:
        self.lengths = lengths

    def _spec(self) -> Spec:
        return Spec("document", (self.lengths,))

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        _, starts, ends = self._documents(queries)
        return _runs(starts[None], ends[None], kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        if cell.query < 0:
            return explain_atom(self, cell)
        # Two searches among the documents are cheaper than a row of spans.
        numbers = {self._document_of(position, cell.batch)[0] for position in (cell.query, cell.key)}
        return explanation(self, cell, len(numbers) == 1, self._reason(cell, []))

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = (self._document_of(position, cell.batch) for position in (cell.query, cell.key))
        q_document, k_document = ("document {} [{}, {})".format(*place) for place in (of_query, of_key))
        if of_query == of_key:
            return f"query {cell.query} and key {cell.key} are in {q_document}"
        return f"query {cell.query} is in {q_document}, key {cell.key} in {k_document}"


class _Within(Packed):
    """The mask of `within`, with one mask for all documents or one for each."""

    def __init__(self, masks: tuple[Mask, ...], lengths: Ints) -> None:
        self._set_operands(masks)
        self.masks, self.lengths = masks, lengths
        self.many_runs = any(mask.many_runs for mask in masks)
        _ = self.batch, self.heads  # raises if masks and lengths have different ones

    def _spec(self) -> Spec:
        return Spec("within", (self.masks[0] if len(self.masks) == 1 else self.masks, self.lengths))

    def _check(self, extent: Extent) -> None:
        check_cover(self, "lengths sum to", self._totals, extent)
        for mask, longest in self._longest().items():
            mask._check(Extent(longest, longest, full_length=False))

    def _longest(self) -> dict[Mask, int]:
        """Return each distinct mask with the length of its longest document."""
        if len(self.masks) == 1:
            return {self.masks[0]: int(self.lengths.max(initial=0))}
        longest: dict[Mask, int] = {}
        for mask, length in zip(self.masks, self.lengths.tolist(), strict=True):
            longest[mask] = max(length, longest.get(mask, 0))
        return longest

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        number, starts, ends = self._documents(queries)
        longest = int(self.lengths.max(initial=0))
        # Rows of the inner mask at positions inside the document, moved to where the document starts and cut where
        # the document ends.
        if len(self.masks) == 1:
            inner = self.masks[0]._spans(queries - starts, longest)
            return _runs(
                np.minimum(inner.planes_starts + starts, ends),
                np.minimum(inner.planes_ends + starts, ends),
                kv_len,
            )
        return self._spans_of_each(queries, number, starts, ends, kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        """Explain by `document(lengths)`, and by the restarted mask where query and key share a document."""
        together = _ByLength(self.lengths)._explain(cell)
        if cell.query < 0:
            return explanation(self, cell, False, "the query is before the first document", [together])
        number, start, end = self._document_of(cell.query, cell.batch)
        if not together.allowed:
            return explanation(self, cell, False, "query and key are in different documents", [together])
        mask = self.masks[number if len(self.masks) > 1 else 0]
        query, key = cell.query - start, cell.key - start
        inner = mask._explain(cell.move(query, key, int(self.lengths.max())))
        reason = f"in document {number} [{start}, {end}) query {cell.query} is {query} and key {cell.key} is {key}"
        return explanation(self, cell, inner.allowed, reason, [together, inner] if inner.allowed else [inner])

    def _spans_of_each(self, queries: Queries, number: Ints, starts: Ints, ends: Ints, kv_len: int) -> Spans:
        """Return the spans where documents have masks of their own; each distinct mask is evaluated once."""
        longest = int(self.lengths.max(initial=0))
        group_of = {mask: i for i, mask in enumerate(dict.fromkeys(self.masks))}
        group: Ints = np.array([group_of[mask] for mask in self.masks])[number]
        parts: list[tuple[Bools, Bools, Spans]] = []
        for (mask, mask_longest), index in zip(self._longest().items(), group_of.values(), strict=True):
            # Each mask is evaluated only in the columns where some batch row has one of its documents; the other rows
            # of those columns use position 0, since theirs may lie beyond what this mask's arrays cover.
            in_group: Bools = group == index
            columns = np.asarray(in_group.any(axis=(0, 1)), dtype=np.bool_)
            if columns.any():
                local = np.where(in_group, queries - starts, 0)[..., columns]
                parts.append((in_group[..., columns], columns, mask._spans(local, mask_longest)))
        # A cell that no part writes keeps [longest, longest), which is cut empty at the end of the document.
        lead = np.broadcast_shapes(group.shape[:2], *(part.shape[:2] for _, _, part in parts))
        shape = (max((part.runs for _, _, part in parts), default=1), *lead, group.shape[-1])
        first, last = np.full(shape, longest, dtype=np.int64), np.full(shape, longest, dtype=np.int64)
        for in_group, columns, part in parts:
            for side, planes in ((first, part.planes_starts), (last, part.planes_ends)):
                side[: part.runs, ..., columns] = np.where(in_group, planes, side[: part.runs, ..., columns])
        return _runs(np.minimum(first + starts, ends), np.minimum(last + starts, ends), kv_len)


class _ById(Mask):
    """The mask of `document(ids=…)`."""

    many_runs = True

    def __init__(self, ids: Ints) -> None:
        self.ids = ids

    def _spec(self) -> Spec:
        return Spec("document", keywords={"ids": self.ids})

    @property
    def batch(self) -> int:
        return batch_of(self.ids)

    def _check(self, extent: Extent) -> None:
        fix = "give each position its id, -1 where it is padding"
        check_cover(self, "ids number", np.array([self.ids.shape[-1]]), extent, fix=fix)

    @cached_property
    def _groups(self) -> Groups:
        return Groups(self.ids, self.ids)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return self._groups.spans(queries, kv_len)

    @from_zero
    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        return self._groups.spans_within(queries, kv_len, extent)

    def _reason(self, cell: Cell, row: Row) -> str:
        ids = batch_row(self.ids, cell.batch)
        q_id, k_id = int(ids[cell.query]), int(ids[cell.key])
        remark = "; an id below 0 belongs to no document" if min(q_id, k_id) < 0 else ""
        return f"query {cell.query} is in document {q_id}, key {cell.key} in document {k_id}{remark}"


def _count_up(rows: Ints) -> bool:
    """Return whether rows of ids are position ids: all count up from 0, and one counts beyond 1 and once again."""
    before = np.full((len(rows), 1), -1, dtype=np.int64)
    previous = np.maximum(np.concatenate([before, rows[:, :-1]], axis=1), -1)
    if not (rows.size and ((rows <= 0) | (rows == previous + 1)).all()):
        return False
    # Ids that never fall are honest, as are documents of one token among longer ones: a second count is needed.
    return any(int((row == 1).sum()) > 1 and row.max() > 1 and (np.diff(row) < 0).any() for row in rows)


def _by_position(positions: Ints) -> Mask:
    """Return the mask of documents whose positions count up by 1."""
    rows = np.atleast_2d(positions)
    starts = np.diff(rows, axis=1, prepend=rows[:, :1] - 2) != 1
    # A row's first number may be any; after a position of no document, a document starts.
    starts[:, 1:] |= rows[:, :-1] < 0
    starts &= rows >= 0
    if (rows < 0).any():
        ids = np.where(rows < 0, -1, starts.cumsum(axis=1) - 1)
        return _ById(as_ints(ids, "document(position_ids)", ndims=(1, 2), minimum=None))
    edges = [np.append(np.flatnonzero(row), len(row)) for row in starts]
    lengths = [np.diff(row).tolist() for row in edges]
    return _ByLength(as_lengths(lengths, "document(position_ids)"))


def _runs(starts: Ints, ends: Ints, kv_len: int) -> Spans:
    """Cut sorted runs off at the last key. Runs that become empty are the last of their row."""
    first, last = np.minimum(starts, kv_len).astype(np.int32), np.minimum(ends, kv_len).astype(np.int32)
    empty = first >= last
    if empty.any():
        first, last = np.where(empty, np.int32(kv_len), first), np.where(empty, np.int32(kv_len), last)
    return Spans(first, last, kv_len).trim()
