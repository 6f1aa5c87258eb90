"""Keys told apart one by one: `match` (query and key carry the same id) and `real` (the key is marked)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spans import Spans, check_budget, join_batch
from .._arrays import Bools, Ints, as_bools, as_ints
from .._extent import Extent, check_cover
from .._mask import Mask, Queries, common_batch
from .._questions.explain import Cell, Row
from .._text.written import Written

_EACH = "give each position its id, -1 where it has none"
_FOUR_D = "pass one mark for each key, or a mask of (query, key) cells to mw.from_dense"


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
        check_cover(self, "q_ids number", np.array([self.q_ids.shape[-1]]), extent, extent.queries, _EACH)
        check_cover(self, "k_ids number", np.array([self.k_ids.shape[-1]]), extent, extent.keys, _EACH)

    @cached_property
    def _groups(self) -> Groups:
        return Groups(self.q_ids, self.k_ids)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return self._groups.spans(queries, kv_len)

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
        q_ids: int `(Q,)` or `(B, Q)`, the group of every query position. An id below 0 matches nothing, where the
            segment ids of JAX's kernels (`SegmentIds(q, kv)`) match any equal numbers.
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
        mend = "give each key its mark; a decoding step appends one for its token"
        check_cover(self, "marks number", np.array([self.marks.shape[-1]]), extent, extent.keys, mend)

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
    return _Real(as_bools(array, "real(array)", ndims=(1, 2), hint=_FOUR_D))


class Groups:
    """The keys of every id as runs, found once: the rows of a mask are then looked up, by however many pieces.

    `(T,)` or `(B, T)` ids each; an id below 0 is nobody's.
    """

    def __init__(self, q_ids: Ints, k_ids: Ints) -> None:
        q_rows, k_rows = np.atleast_2d(q_ids), np.atleast_2d(k_ids)
        batch = range(max(len(q_rows), len(k_rows)))
        self.rows = [_Row(q_rows[b if len(q_rows) > 1 else 0], k_rows[b if len(k_rows) > 1 else 0]) for b in batch]

    def spans(self, queries: Queries, kv_len: int) -> Spans:
        """The keys whose id is that of the query."""
        found: list[tuple[_Row, npt.NDArray[np.int32], Ints]] = []
        for b in range(max(len(self.rows), len(queries))):
            row = self.rows[b if len(self.rows) > 1 else 0]
            slot = row.slot[queries[b if len(queries) > 1 else 0]]
            found.append((row, slot, row.count(kv_len)[slot]))
        check_budget(max(int(count.max(initial=1)) for _, _, count in found), len(found) * found[0][1].size)
        return join_batch([row.spans(slot, count, kv_len) for row, slot, count in found])


class _Row:
    """One batch row of `Groups`: the runs of one id lie together, in order, and `begin` says where."""

    def __init__(self, q_ids: Ints, k_ids: Ints) -> None:
        edges = np.flatnonzero(np.diff(k_ids, prepend=k_ids[:1] - 1, append=k_ids[-1:] - 1)).astype(np.int32)
        ids = k_ids[edges[:-1]]
        order = np.argsort(ids, kind="stable")
        order = order[ids[order] >= 0]
        self.first, self.last = edges[order], edges[order + 1]
        names, self.of, number = np.unique(ids[order], return_inverse=True, return_counts=True)
        self.begin = np.append(number.cumsum() - number, 0).astype(np.int32)
        # What no key carries is the last name, which has no runs.
        slot = np.searchsorted(names, q_ids)
        self.slot = np.where(np.append(names, -1)[slot] == q_ids, slot, len(names)).astype(np.int32)

    def count(self, kv_len: int) -> Ints:
        """int64 `(names + 1,)`: the runs of each that start below `kv_len`."""
        return np.bincount(self.of[self.first < kv_len], minlength=len(self.begin))

    def spans(self, slot: npt.NDArray[np.int32], count: Ints, kv_len: int) -> Spans:
        """The runs of these names, of which so many count: `(H, Q)` each."""
        rank = np.arange(max(int(count.max(initial=1)), 1), dtype=np.int32).reshape(-1, 1, 1, 1)
        index, there = self.begin[slot] + rank, rank < count
        last = np.int32(kv_len)
        sides = (np.append(runs, last).take(index, mode="clip") for runs in (self.first, self.last))
        starts, ends = (np.where(there, np.minimum(side, last), last) for side in sides)
        return Spans(starts, ends, kv_len)
