"""`packed`: sequences laid end to end whose queries and keys have lengths of their own."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ... import spans as sp
from ...errors import MaskError
from ...spans import Spans, merge_runs, repeat_ranges
from .._arrays import Bools, Ints, as_int, as_ints, as_lengths, batch_of
from .._extent import Extent, check_cover, from_zero
from .._mask import Mask, Queries, common_batch
from .._questions.explain import Cell, Explanation, explanation
from .._text.registry import Form, atom
from .._text.spec import Spec

# q_lengths = [1, 2], k_lengths = [3, 2]: causal inside each sequence, the last query beside the last key
#
#    key        0 1 2 | 0 1
#    query 2    █ █ █ | · ·      the only query of the first sequence stands at its position 2
#    query 0    · · · | █ ·      the second sequence starts at its position 0
#    query 1    · · · | █ █


class _PackedSequences(Mask):
    """The mask of `packed`.

    Attributes:
        mask: the mask inside each sequence, in the sequence's own positions.
        q_lengths, k_lengths: queries and keys of each sequence: `(S,)` or `(B, S)`.
        q_starts: the position of each sequence's first query, of the same shape; None: the last stands at the last key.
        k_starts: the index of each sequence's first key, of the same shape; None: one sequence after the other.
        pages: `(S, P)`, which page of `page_size` keys holds each stretch of a sequence; None: the keys are contiguous.
    """

    def __init__(self, mask: Mask, arrays: dict[str, Ints | None], page_size: int | None) -> None:
        self._set_operands((mask,))
        self.mask, self.arrays, self.page_size = mask, arrays, page_size
        self.many_runs = mask.many_runs or "pages" in arrays
        self.pages = arrays.get("pages")
        self.q_lengths, self.k_lengths = _lengths(arrays["q_lengths"]), _lengths(arrays["k_lengths"])
        _ = self.batch, self.heads  # raises if mask and lengths have different ones

    def _spec(self) -> Spec:
        args = (self.mask, self.arrays["q_lengths"], self.arrays["k_lengths"])
        keywords = {name: self.arrays.get(name) for name in ("q_starts", "k_starts", "pages")}
        keywords = {name: value for name, value in keywords.items() if value is not None}
        return Spec("packed", args, keywords | ({} if self.page_size is None else {"page_size": self.page_size}))

    @property
    def batch(self) -> int:
        lengths = (value for name, value in self.arrays.items() if value is not None and name != "pages")
        return common_batch(*(batch_of(array) for array in lengths), super().batch)

    @cached_property
    def _starts(self) -> tuple[Ints, Ints]:
        """The position of each sequence's first query and the index of its first key: `(B, S)` each, B may be 1.

        On pages, the index counts the slots of the sequence's own pages.
        """
        q_starts, k_starts = self.arrays.get("q_starts"), self.arrays.get("k_starts")
        positions = self.k_lengths - self.q_lengths if q_starts is None else np.atleast_2d(q_starts)
        if k_starts is None and self.pages is None:
            return positions, self.k_lengths.cumsum(axis=1) - self.k_lengths
        return positions, np.zeros_like(self.k_lengths) if k_starts is None else np.atleast_2d(k_starts)

    def _check(self, extent: Extent) -> None:
        queries = self.q_lengths.sum(axis=1)
        fix = "a last sequence takes queries of padding"
        check_cover(self, "q_lengths sum to", queries, extent, extent.queries, fix)
        if self.pages is None and self.arrays.get("k_starts") is None:
            fix = "a last sequence without queries takes keys of padding"
            check_cover(self, "k_lengths sum to", self.k_lengths.sum(axis=1), extent, extent.keys, fix)
        last = int((self._starts[0] + self.q_lengths).max(initial=0))
        self.mask._check(Extent(max(last, 0), int(self.k_lengths.max(initial=0)), full_length=False))

    def _of_queries(self, queries: Queries) -> tuple[Ints, ...]:
        """Return for every query its sequence, its position there, and first key and length of the sequence's keys."""
        tables = (self.q_lengths, *self._starts, self.k_lengths)
        rows = max(len(queries), *(len(table) for table in tables))
        q_lengths, positions, k_starts, k_lengths = (np.broadcast_to(t, (rows, t.shape[1])) for t in tables)
        ends = q_lengths.cumsum(axis=1)
        queries = np.broadcast_to(queries, (rows, *queries.shape[1:]))
        # side="right" skips sequences without queries, which end where the one before them does.
        number = np.empty(queries.shape, dtype=np.int64)
        for row, end in enumerate(ends):
            number[row] = np.searchsorted(end, queries[row], side="right")
        b = np.arange(rows).reshape(-1, 1, 1)
        local = queries - (ends - q_lengths - positions)[b, number]
        return number, local, k_starts[b, number], k_lengths[b, number]

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        number, local, first, length = self._of_queries(queries)
        return self._laid(self.mask._spans(local, self._longest), number, first, length, kv_len)

    @from_zero
    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        if self.pages is not None or not self.mask.depends_on_query:
            return sp.intersection(extent, self._spans(queries, kv_len))
        number, local, first, length = self._of_queries(queries)
        low, high = (np.clip(side[0] - first, 0, length) for side in (extent.planes_starts, extent.planes_ends))
        inner = self.mask._spans_within(local, self._longest, sp.single(low, high, self._longest))
        return self._laid(inner, number, first, length, kv_len)

    @property
    def _longest(self) -> int:
        return int(self.k_lengths.max(initial=0))

    def _laid(self, inner: Spans, number: Ints, first: Ints, length: Ints, kv_len: int) -> Spans:
        """Return the rows of the mask inside each sequence where the sequence's keys are."""
        # Runs of a sequence's own keys, cut where they end; those that become empty are the last of their row.
        starts, ends = (np.minimum(side, length) for side in (inner.planes_starts, inner.planes_ends))
        if self.pages is not None:
            return self._paged(number, starts + first, ends + first, kv_len)
        starts, ends = (np.minimum(side + first, kv_len) for side in (starts, ends))
        empty = starts >= ends
        starts, ends = (np.where(empty, kv_len, side).astype(np.int32) for side in (starts, ends))
        return Spans(starts, ends, kv_len).trim()

    def _paged(self, number: Ints, starts: Ints, ends: Ints, kv_len: int) -> Spans:
        """Return the runs `(R, B, H, Q)` of the sequences' own keys where their pages hold them."""
        assert self.pages is not None
        assert self.page_size is not None
        size, (runs, *shape) = self.page_size, np.broadcast_shapes(starts.shape, (1, *number.shape))
        starts, ends, sequence = (np.broadcast_to(side, (runs, *shape)).ravel() for side in (starts, ends, number))
        used = np.flatnonzero(starts < ends)
        row = used % max(len(starts) // runs, 1)
        starts, ends, sequence = starts[used], ends[used], sequence[used]
        page, owner = repeat_ranges(starts // size, -(-ends // size))
        moved = (self.pages[sequence[owner], page] - page) * size
        low, high = np.maximum(starts[owner], page * size), np.minimum(ends[owner], (page + 1) * size)
        return merge_runs(row[owner], low + moved, high + moved, (shape[0], shape[1], shape[2]), kv_len)

    def _explain(self, cell: Cell) -> Explanation:
        if cell.query < 0:
            return explanation(self, cell, False, "the query is before the first sequence")
        b = min(cell.batch, self.batch - 1)
        found = self._of_queries(np.full((1, 1, 1), cell.query, dtype=np.int64))
        number, query, first, length = (int(side[b if len(side) > 1 else 0, 0, 0]) for side in found)
        slots = [cell.key]
        if self.pages is not None and self.page_size is not None:
            page, inside = divmod(cell.key, self.page_size)
            slots = [int(i) * self.page_size + inside for i in np.flatnonzero(self.pages[number] == page)]
        keys = [slot - first for slot in slots if 0 <= slot - first < length]
        if not keys:
            return explanation(self, cell, False, f"query {cell.query} is in sequence {number}, key {cell.key} is not")
        # A page may hold several stretches of a sequence: then one that is allowed decides.
        parts = [(self.mask._explain(cell.move(query, key, int(self.k_lengths.max()))), key) for key in keys]
        inner, key = next((pair for pair in parts if pair[0].allowed), parts[0])
        reason = f"in sequence {number} query {cell.query} stands at {query} and key {cell.key} at {key}"
        return explanation(self, cell, inner.allowed, reason, [inner])


def _lengths(array: Ints | None) -> Ints:
    assert array is not None
    return np.atleast_2d(array)


@atom(
    Form(
        "packed(mask, q_lengths, k_lengths)", "", "`mask` allows it, with positions of each sequence's queries and keys"
    )
)
def packed(
    mask: Mask,
    q_lengths: Any,
    k_lengths: Any,
    align: str | None = None,
    *,
    q_starts: Any = None,
    k_starts: Any = None,
    pages: Any = None,
    page_size: int | None = None,
) -> Mask:
    """Allow what `mask` allows inside each sequence, whose queries and keys have lengths of their own.

    Sequences lie end to end, as in flash-attention's varlen kernels with `cu_seqlens_q != cu_seqlens_k`; where queries
    and keys are the same positions, `within` says it. Bind with `q_start=0`: queries count through all sequences.

    Args:
        mask: the mask inside each sequence, in positions of its own keys: `causal()`, `band(…)`, any expression.
        q_lengths: int `(S,)` or `(B, S)`: queries of each sequence; 0 is allowed. A list of lists may be ragged.
        k_lengths: of the same shape: keys of each sequence; 0 is allowed.
        align: "end", the default: the last query stands at the last key (decoding, chunked prefill), a query that then
            stands before key 0 sees what the formula says; "start": the first query stands at key 0.
        q_starts: int, or of the lengths' shape: the position of each sequence's first query, in place of `align`.
        k_starts: int `(S,)` or `(B, S)`: the index of each sequence's first key. Left out, keys lie end to end; given,
            each sequence may have room for more keys than it holds, and gaps are seen by no query. With `pages`, each
            index counts the slots of the sequence's own pages.
        pages: int `(S, P)`: the page that holds each stretch of `page_size` keys of a sequence, -1 = none. Keys
            `[page * page_size, (page + 1) * page_size)` are a page.
        page_size: keys of a page.

    Raises:
        MaskError: the shapes differ, `align` has no such name, or a sequence has keys without a page.
        GridError: on binding, the lengths do not cover the grid.

    | library | its way to say `packed` |
    | --- | --- |
    | flash-attention `varlen`, `causal=True` | `packed(causal(), np.diff(cu_seqlens_q), np.diff(cu_seqlens_k))` |
    | flash-attention `block_table`, vLLM, FlashInfer | `pages=block_table, page_size=…` |
    | xFormers `BlockDiagonalMask.from_seqlens(q, kv)` | `packed(full(), q, kv)` |
    | xFormers `BlockDiagonalCausalMask` | `packed(causal(), q, kv, align="start")` |
    | xFormers `BlockDiagonalCausalFromBottomRightMask` | `packed(causal(), q, kv)` |
    | xFormers `BlockDiagonalCausalWithOffsetPaddedKeysMask` | `packed(causal(), q, kv, k_starts=[0, padding, …])` |
    | xFormers `BlockDiagonalGappyKeysMask` | `packed(full(), q, kv, k_starts=starts)` |
    | xFormers `PagedBlockDiagonal…Mask` | `pages=block_tables, page_size=…`, gappy: `k_starts=starts` too |

    >>> import maskwork as mw
    >>> mask = mw.packed(mw.causal(), [1, 2], [3, 2])
    >>> mask.bind(3, 5, q_start=0).dense().astype(int)[0, 0].tolist()
    [[1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
    """
    if not isinstance(mask, Mask):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MaskError(f"packed takes a mask first, got {type(mask).__name__}; write packed(mw.causal(), q, k)")
    arrays: dict[str, Ints | None] = {
        "q_lengths": as_lengths(q_lengths, "packed(q_lengths)"),
        "k_lengths": as_lengths(k_lengths, "packed(k_lengths)"),
    }
    lengths, keys = _lengths(arrays["q_lengths"]), _lengths(arrays["k_lengths"])
    if align not in (None, "end", "start"):
        raise MaskError(f'packed aligns queries at the "end" or the "start", got {align!r:.40}; pass one of them')
    if align is not None and q_starts is not None:
        raise MaskError("packed takes align or q_starts, got both; q_starts alone says where queries stand")
    if align == "start":
        q_starts = 0
    if q_starts is not None:
        starts = as_ints(q_starts, "packed(q_starts)", ndims=(0, 1, 2), minimum=None, squeeze=False)
        arrays["q_starts"] = _each(starts, lengths, "q_starts")
    if k_starts is not None:
        arrays["k_starts"] = _each(as_ints(k_starts, "packed(k_starts)", ndims=(1, 2)), keys, "k_starts")
    if lengths.shape[1] != keys.shape[1]:
        raise MaskError(
            f"packed takes queries and keys of each sequence, got {lengths.shape[1]} and {keys.shape[1]} lengths; pass "
            "0 where a sequence has none"
        )
    if q_starts is not None and (_lengths(arrays["q_starts"]) == keys - lengths).all():
        del arrays["q_starts"]  # the same as align="end"
    if pages is not None or page_size is not None:
        arrays["pages"], page_size = _pages(pages, page_size, keys, arrays.get("k_starts"))
    return _PackedSequences(mask, arrays, page_size)


def _each(starts: Ints, lengths: Ints, name: str) -> Ints:
    """Return starts, one for each sequence, of the lengths' number of sequences."""
    if starts.ndim and starts.shape[-1] != lengths.shape[1]:
        raise MaskError(
            f"packed({name}) has one for each of the {lengths.shape[1]} sequences, got {starts.shape[-1]}; pass as many"
        )
    each = np.broadcast_to(starts, (*starts.shape[:-1], lengths.shape[1])).copy()
    each = each[0] if each.ndim == 2 and len(each) == 1 else each
    each.setflags(write=False)
    return each


def _pages(pages: Any, page_size: Any, keys: Ints, k_starts: Ints | None) -> tuple[Ints, int]:
    """Return the table of pages and the size of a page, after checking that the table holds all keys."""
    if pages is None or page_size is None or len(keys) > 1:
        got = "no pages" if pages is None else "no page_size" if page_size is None else "(B, S) lengths too"
        raise MaskError(f"packed takes pages with page_size, for (S,) lengths, got {got}; pass the two")
    size = as_int(page_size, "packed(page_size)", minimum=1)
    table = as_ints(pages, "packed(pages)", ndims=(2,), minimum=-1, fill=-1, squeeze=False)
    first = np.zeros_like(keys) if k_starts is None else np.atleast_2d(k_starts)
    # The first and one past the last page that each sequence uses; the pages before and after may be missing.
    low, high = first // size, np.where(keys > 0, -(-(first + keys) // size), 0)
    if len(table) != keys.shape[1]:
        raise MaskError(
            f"packed(pages) has a row for each of {keys.shape[1]} sequences, got {len(table)}; pass as many"
        )
    index: Ints = np.arange(max(table.shape[1], int(high.max(initial=0))), dtype=np.int64)
    present = np.zeros((len(table), len(index)), dtype=np.bool_)
    present[:, : table.shape[1]] = table >= 0
    used: Bools = np.asarray((low[..., None] <= index) & (index < high[..., None]), dtype=np.bool_)
    short: Bools = np.asarray((used & ~present).any(axis=(0, 2)), dtype=np.bool_)
    if short.any():
        number = int(short.argmax())
        need: Bools = np.asarray(used[:, number].any(axis=0), dtype=np.bool_)
        raise MaskError(
            f"a sequence's pages hold its keys, got {int((need & present[number]).sum())} pages of {size} for the "
            f"{int(keys[0, number])} keys of sequence {number}; pass {int(need.sum())}"
        )
    return table, size
