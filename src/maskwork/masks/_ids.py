"""Keys told apart one by one: `match` (query and key carry the same id) and `real` (the key is marked)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..spans import Spans, check_budget
from ._arrays import Bools, Ints, as_bools, as_ints
from ._explanation import Cell, Row
from ._mask import Extent, Mask, Queries, check_cover, common_batch
from ._written import Written


class _Match(Mask):
    """See `match`."""

    def __init__(self, q_ids: Ints, k_ids: Ints) -> None:
        self.q_ids, self.k_ids = q_ids, k_ids
        _ = self.batch  # raises where the two speak of different batches

    def _written(self) -> Written:
        return Written("match", (self.q_ids, self.k_ids))

    @property
    def batch(self) -> int:
        return common_batch(*(1 if ids.ndim == 1 else len(ids) for ids in (self.q_ids, self.k_ids)))

    def _check(self, extent: Extent) -> None:
        check_cover(self, "q_ids number", np.array([self.q_ids.shape[-1]]), extent, extent.queries)
        check_cover(self, "k_ids number", np.array([self.k_ids.shape[-1]]), extent, extent.keys)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return spans_of_ids(self.q_ids, self.k_ids, queries, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        q_id, k_id = (
            int((ids if ids.ndim == 1 else ids[cell.batch])[position])
            for ids, position in ((self.q_ids, cell.query), (self.k_ids, cell.key))
        )
        none = "; an id below 0 matches nothing" if min(q_id, k_id) < 0 else ""
        return f"query {cell.query} has id {q_id}, key {cell.key} has id {k_id}{none}"


def match(q_ids: Any, k_ids: Any) -> Mask:
    """`q_ids[q] == k_ids[k] >= 0`: cross-attention by group, such as text to its image (Flamingo, Alayrac et al. 2022).

    Args:
        q_ids: int `(Q,)` or `(B, Q)`, the group of every query position. An id below 0 matches nothing.
        k_ids: int `(K,)` or `(B, K)`, the group of every key position; its own length, and its own axis of positions.

    `match(ids, ids)` allows the cells of `document(ids=ids)`. A query sees the *same* group, not the latest of several:
    for Flamingo, `q_ids` counts the images before each token. Queries and keys are counted apart, so that
    `bind(q_len, kv_len, q_start=0)` is the usual way to bind it.

    >>> import maskwork as mw
    >>> mw.match([0, 1, -1], [1, 1, 0, 0]).bind(3, 4, q_start=0).dense().astype(int)[0, 0].tolist()
    [[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    """
    ids = (as_ints(value, f"match({name})", ndims=(1, 2), minimum=None) for name, value in _pair(q_ids, k_ids))
    return _Match(*ids)


def _pair(q_ids: Any, k_ids: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("q_ids", q_ids), ("k_ids", k_ids)


class _Real(Mask):
    """See `real`."""

    depends_on_query = False

    def __init__(self, marks: Bools) -> None:
        self.marks = marks

    def _written(self) -> Written:
        return Written("real", (self.marks,))

    @property
    def batch(self) -> int:
        return 1 if self.marks.ndim == 1 else len(self.marks)

    def _check(self, extent: Extent) -> None:
        check_cover(self, "marks number", np.array([self.marks.shape[-1]]), extent, extent.keys)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        marks = np.atleast_2d(self.marks)[:, :kv_len]
        none = np.zeros((len(marks), 1), dtype=np.int8)
        steps = np.diff(marks.view(np.int8), axis=1, prepend=none, append=none)
        row, start = np.nonzero(steps == 1)
        _, end = np.nonzero(steps == -1)
        count = np.bincount(row, minlength=len(marks))
        runs = max(int(count.max(initial=0)), 1)
        check_budget(runs, len(marks))
        rank = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
        planes = np.full((2, runs, len(marks), 1, 1), kv_len, dtype=np.int32)
        planes[0, rank, row, 0, 0], planes[1, rank, row, 0, 0] = start, end
        return Spans(planes[0], planes[1], kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        marked = (self.marks if self.marks.ndim == 1 else self.marks[cell.batch])[cell.key]
        return f"key {cell.key} is {'' if marked else 'not '}marked real"


def real(array: Any) -> Mask:
    """Key `k` is marked real: Hugging Face's `attention_mask`, whose 1 means *a token* and 0 *padding*.

    Args:
        array: bool, or the integers 0 and 1, `(K,)` or `(B, K)`. Marks need not be contiguous.

    It says nothing about queries: a padded query still has a row, whose output nobody should score.

    | library | its way to say `real(m)` |
    | --- | --- |
    | Hugging Face `attention_mask` | `m`, 1 = token |
    | `nn.MultiheadAttention`, `nn.Transformer*` `key_padding_mask` | `~m`: see `from_key_padding_mask` |

    >>> import maskwork as mw
    >>> (mw.causal() & mw.real([0, 1, 1])).bind(3).dense().astype(int)[0, 0].tolist()
    [[0, 0, 0], [0, 1, 0], [0, 1, 1]]
    """
    return _Real(as_bools(array, "real(array)", ndims=(1, 2)))


def spans_of_ids(q_ids: Ints, k_ids: Ints, queries: Queries, kv_len: int) -> Spans:
    """The keys whose id is that of the query, `(T,)` or `(B, T)` each; an id below 0 is nobody's."""
    q_rows, k_rows = np.atleast_2d(q_ids), np.atleast_2d(k_ids)[:, :kv_len]
    batch = max(len(q_rows), len(k_rows), len(queries))
    parts: list[tuple[Ints, Ints]] = []
    for b in range(batch):
        q_row, k_row, at = (rows[b if len(rows) > 1 else 0] for rows in (q_rows, k_rows, queries))
        parts.append(_runs_of_ids(q_row[at], k_row, kv_len))
        check_budget(max(len(starts) for starts, _ in parts), batch * at.size)
    runs = max(len(starts) for starts, _ in parts)
    planes = np.full((2, runs, batch, *queries.shape[1:]), kv_len, dtype=np.int32)
    for b, pair in enumerate(parts):
        for side, values in enumerate(pair):
            planes[side, : len(values), b] = values
    return Spans(planes[0], planes[1], kv_len).trim()


def _runs_of_ids(wanted: Ints, keys: Ints, kv_len: int) -> tuple[Ints, Ints]:
    """int64 `(R, *wanted.shape)` each: for every wanted id, the runs of keys that carry it."""
    edges = np.flatnonzero(np.diff(keys)) + 1
    first = np.concatenate([np.zeros(min(len(keys), 1), dtype=np.int64), edges])
    last = np.concatenate([edges, np.full(min(len(keys), 1), len(keys), dtype=np.int64)])
    names, slot_of = np.unique(wanted, return_inverse=True)
    slot = np.searchsorted(names, keys[first])
    known = (keys[first] >= 0) & (slot < len(names))
    known[known] = names[slot[known]] == keys[first[known]]
    first, last, slot = first[known], last[known], slot[known]
    order = np.argsort(slot, kind="stable")
    count = np.bincount(slot, minlength=len(names))
    runs = int(count.max(initial=1))
    check_budget(runs, max(len(names), wanted.size))
    rank = np.arange(len(order)) - np.repeat(count.cumsum() - count, count)
    table = np.full((2, runs, len(names)), kv_len, dtype=np.int64)
    table[0, rank, slot[order]], table[1, rank, slot[order]] = first[order], last[order]
    slot_of = slot_of.reshape(wanted.shape)
    return table[0][:, slot_of], table[1][:, slot_of]
