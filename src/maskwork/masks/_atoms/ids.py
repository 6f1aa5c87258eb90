"""`match`: query and key have the same id. `Groups` looks the keys of an id up as runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...spans import Spans, check_budget, join_batch
from .._arrays import Ints, as_ints, batch_of, batch_row
from .._extent import Extent, check_cover, from_zero
from .._mask import Mask, Queries, common_batch
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

_ONE_ID_EACH = "give each position its id, -1 where it has none"


class _Match(Mask):
    """The mask of `match`."""

    many_runs = True

    def __init__(self, q_ids: Ints, k_ids: Ints) -> None:
        self.q_ids, self.k_ids = q_ids, k_ids
        _ = self.batch  # raises if the two have different batch sizes

    def _spec(self) -> Spec:
        return Spec("match", (self.q_ids, self.k_ids))

    @property
    def batch(self) -> int:
        return common_batch(batch_of(self.q_ids), batch_of(self.k_ids))

    def _check(self, extent: Extent) -> None:
        check_cover(self, "q_ids number", np.array([self.q_ids.shape[-1]]), extent, extent.queries, _ONE_ID_EACH)
        check_cover(self, "k_ids number", np.array([self.k_ids.shape[-1]]), extent, extent.keys, _ONE_ID_EACH)

    @cached_property
    def _groups(self) -> Groups:
        return Groups(self.q_ids, self.k_ids)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return self._groups.spans(queries, kv_len)

    @from_zero
    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        return self._groups.spans_within(queries, kv_len, extent)

    def _reason(self, cell: Cell, row: Row) -> str:
        q_id = batch_row(self.q_ids, cell.batch)[cell.query]
        k_id = batch_row(self.k_ids, cell.batch)[cell.key]
        remark = "; an id below 0 matches nothing" if min(q_id, k_id) < 0 else ""
        return f"query {cell.query} has id {q_id}, key {cell.key} has id {k_id}{remark}"


@atom(Form("match(q_ids, k_ids)", "q_ids[q] == k_ids[k] >= 0", "cross-attention by group"))
def match(q_ids: Any, k_ids: Any) -> Mask:
    """Allow `q_ids[q] == k_ids[k] >= 0`: cross-attention by group, as of text to images (Alayrac et al. 2022).

    Args:
        q_ids: int `(Q,)` or `(B, Q)`, the group of every query position. An id below 0 matches nothing, where the
            segment ids of JAX's kernels (`SegmentIds(q, kv)`) match any equal numbers.
        k_ids: int `(K,)` or `(B, K)`, the group of every key position. Keys count positions of their own, so that
            their number may differ from that of the queries.

    `match(ids, ids)` allows the cells of `document(ids=ids)`. A query sees the *same* group, not the latest of several:
    for Flamingo, `q_ids` counts the images before each token. The usual way to bind this mask is
    `bind(q_len, kv_len, q_start=0)`.

    >>> import maskwork as mw
    >>> mw.match([0, 1, -1], [1, 1, 0, 0]).bind(3, 4, q_start=0).dense().astype(int)[0, 0].tolist()
    [[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    """
    return _Match(
        as_ints(q_ids, "match(q_ids)", ndims=(1, 2), minimum=None),
        as_ints(k_ids, "match(k_ids)", ndims=(1, 2), minimum=None),
    )


def look_up(rows: Sequence[RunIndex], queries: Queries, kv_len: int) -> Spans:
    """Return the runs of each query, by an index for each batch row, or by one for all."""
    lookups: list[tuple[RunIndex, npt.NDArray[np.int32], Ints]] = []
    for b in range(max(len(rows), len(queries))):
        index = rows[b if len(rows) > 1 else 0]
        slot = index.slot_of(queries[b if len(queries) > 1 else 0])
        lookups.append((index, slot, index.count(kv_len)[slot]))
    check_budget(max(int(count.max(initial=1)) for _, _, count in lookups), len(lookups) * lookups[0][1].size)
    return join_batch([index.spans(slot, count, kv_len) for index, slot, count in lookups])


def look_up_within(rows: Sequence[RunIndex], queries: Queries, kv_len: int, extent: Spans) -> Spans:
    """Return the runs of each query inside of one run a row, `extent`: the others are not counted or stored."""
    lead = np.broadcast_shapes((len(rows), 1, 1), queries.shape, extent.shape)
    low, high = (np.broadcast_to(side[0], lead) for side in (extent.planes_starts, extent.planes_ends))
    queries = np.broadcast_to(queries, (lead[0], 1, lead[2]))
    parts: list[Spans] = []
    for b in range(lead[0]):
        index = rows[b if len(rows) > 1 else 0]
        parts.append(index.spans_within(index.slot_of(queries[b]), low[b], high[b], kv_len))
    return join_batch(parts)


class Groups:
    """An index of the keys of every id as runs, built once; the rows of a mask are then looked up in pieces.

    `q_ids` and `k_ids` are `(T,)` or `(B, T)`; an id below 0 matches nothing.
    """

    def __init__(self, q_ids: Ints, k_ids: Ints) -> None:
        q_rows, k_rows = np.atleast_2d(q_ids), np.atleast_2d(k_ids)
        batch = range(max(len(q_rows), len(k_rows)))
        self.rows = [_runs_of(q_rows[b if len(q_rows) > 1 else 0], k_rows[b if len(k_rows) > 1 else 0]) for b in batch]

    def spans(self, queries: Queries, kv_len: int) -> Spans:
        """Return the keys that have the id of each query."""
        return look_up(self.rows, queries, kv_len)

    def spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        """Return the keys that have the id of each query inside of one run a row, `extent`."""
        return look_up_within(self.rows, queries, kv_len, extent)


@dataclass(frozen=True)
class RunIndex:
    """The runs of one batch row, those of one id side by side, in the order of positions.

    Attributes:
        first: where the runs start, int32 `(runs,)`.
        last: where the runs end.
        begin: the first run of each id, int32 `(ids + 1,)`; the last entry is for ids that no key has.
        name_of_run: the number of each run's id.
        slot: for each query, the number of its id.
    """

    # k_ids      0 0 1 1 0 2 2 -1      three ids in four runs; -1 matches nothing
    # first      0 4 | 2 | 5           where the runs start, sorted by id
    # last       2 5 | 4 | 7           where the runs end
    # begin      0     2   3   4       the first run of each id; the last entry is for ids that no key has
    # slot                             for each query, the index of its id in `begin`

    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]
    begin: npt.NDArray[np.int32]
    name_of_run: npt.NDArray[np.intp]
    slot: npt.NDArray[np.int32]

    def slot_of(self, queries: Queries) -> npt.NDArray[np.int32]:
        """Return the slot of each query; a position before 0, or beyond the index, has the index's last."""
        outside = (queries < 0) | (queries >= len(self.slot))
        return self.slot[np.where(outside, len(self.slot) - 1, queries)]

    def spans_within(
        self, slot: npt.NDArray[np.int32], low: npt.NDArray[np.int32], high: npt.NDArray[np.int32], kv_len: int
    ) -> Spans:
        """Return the runs of the ids at `slot` `(1, Q)`, cut to `[low, high)` `(H, Q)`: those alone are looked up."""
        # The runs of all ids on one line of numbers, each id a stretch of its own, so that one search serves all rows.
        stretch = np.int64(1) << 32
        run_slot = self.name_of_run * stretch
        first = np.searchsorted(run_slot + self.last, slot * stretch + low, side="right")
        count = np.searchsorted(run_slot + self.first, slot * stretch + high, side="left") - first
        count = np.where(low < high, np.maximum(count, 0), 0)
        most = max(int(count.max(initial=1)), 1)
        check_budget(most, count.size)
        rank = np.arange(most, dtype=np.int64).reshape(-1, 1, 1, 1)
        index, end = first + rank, np.int32(kv_len)
        starts, ends = (np.append(runs, end).take(index, mode="clip") for runs in (self.first, self.last))
        starts, ends = np.maximum(starts, low), np.minimum(ends, high)
        empty = (rank >= count) | (starts >= ends)
        return Spans(np.where(empty, end, starts), np.where(empty, end, ends), kv_len).trim()

    def count(self, kv_len: int) -> Ints:
        """Return the number of runs of each id that start below `kv_len`: int64 `(names + 1,)`."""
        return np.bincount(self.name_of_run[self.first < kv_len], minlength=len(self.begin))

    def spans(self, slot: npt.NDArray[np.int32], count: Ints, kv_len: int) -> Spans:
        """Return the first `count` runs of the ids at `slot`, each `(H, Q)`."""
        rank = np.arange(max(int(count.max(initial=1)), 1), dtype=np.int32).reshape(-1, 1, 1, 1)
        index, is_run = self.begin[slot] + rank, rank < count
        end = np.int32(kv_len)
        sides = (np.append(runs, end).take(index, mode="clip") for runs in (self.first, self.last))
        starts, ends = (np.where(is_run, np.minimum(side, end), end) for side in sides)
        return Spans(starts, ends, kv_len)


def _runs_of(q_ids: Ints, k_ids: Ints) -> RunIndex:
    """Return the runs of keys of every id."""
    edges = np.flatnonzero(np.diff(k_ids, prepend=k_ids[:1] - 1, append=k_ids[-1:] - 1)).astype(np.int32)
    ids = k_ids[edges[:-1]]
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] >= 0]
    names, name_of_run, number = np.unique(ids[order], return_inverse=True, return_counts=True)
    begin = np.append(number.cumsum() - number, 0).astype(np.int32)
    # An id that no key has gets the last slot, which has no runs.
    slot = np.searchsorted(names, q_ids)
    slot = np.where(np.append(names, -1)[slot] == q_ids, slot, len(names)).astype(np.int32)
    return RunIndex(edges[order], edges[order + 1], begin, name_of_run, slot)
