"""Geometry given as such: `from_spans` (per query, runs of keys), `from_key_bounds` (per key, a range of queries)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...errors import MaskError
from ...spans import (
    CHUNK_CELLS,
    Int32s,
    Spans,
    check_budget,
    distinct,
    gather_runs,
    intersection,
    list_runs,
    repeat_ranges,
    single,
    take_rows,
)
from .._arrays import Ints, as_ints
from .._extent import Extent, check_cover, from_zero
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

# One past the largest position, and a number beyond every position: no bound.
_LAST, _NO_BOUND = 2**31 - 1, 1 << 40
# To sort an edge costs as much as to look at this many cells.
_CELLS_PER_EDGE = 3


class _FromSpans(Mask):
    """The mask of `from_spans`: merged, sorted runs `(B, H, Q, R)`."""

    def __init__(self, starts: Ints, ends: Ints) -> None:
        starts, ends = (np.moveaxis(np.clip(side, 0, _LAST), -1, 0) for side in (starts, ends))
        if not len(starts):
            starts, ends = np.zeros((2, 1, *starts.shape[1:]), dtype=np.int64)
        # No run reaches beyond the last key of any run: a slot that is not used holds the same number on each reading.
        last = int(np.where(starts < ends, ends, 0).max(initial=0))
        self.rows = gather_runs(starts, ends, last)
        self.many_runs = self.rows.runs > 1

    def _spec(self) -> Spec:
        sides: list[Ints] = []
        for planes in (self.rows.starts, self.rows.ends):
            array = planes.astype(np.int64)
            # Axes of one batch row and one head are left out, as if they had not been given.
            array = array[:, 0] if array.shape[1] == 1 else array
            sides.append(array[0] if array.ndim == 3 and len(array) == 1 else array)
        return Spec("from_spans", tuple(sides))

    @property
    def batch(self) -> int:
        return self.rows.shape[0]

    @property
    def heads(self) -> int:
        return self.rows.shape[1]

    def _check(self, extent: Extent) -> None:
        fix = "give each query its runs, an empty one where it sees nothing"
        check_cover(self, "runs are given for", np.array([self.rows.shape[2]]), extent, extent.queries, fix)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        rows = take_rows(self.rows, queries)
        starts, ends = rows.planes_starts, np.minimum(rows.planes_ends, np.int32(kv_len))
        # What a slot holds that is not used depends on the number of keys.
        starts, ends = (np.where(starts < ends, side, np.int32(kv_len)) for side in (starts, ends))
        return Spans(starts, ends, kv_len).trim()

    def _reason(self, cell: Cell, row: Row) -> str:
        if cell.query < 0:
            return f"query {cell.query} is before the first row"
        held = any(a <= cell.key < b for a, b in row)
        return f"key {cell.key} is in {'one' if held else 'none'} of the runs of query {cell.query}"


class _KeyBounds(Mask):
    """The mask of `from_key_bounds`: key `k` is hidden from queries `[start[k], end[k])`; None = no bound."""

    many_runs = True

    def __init__(self, start: Ints | None, end: Ints | None) -> None:
        self.start, self.end = start, end

    def _spec(self) -> Spec:
        return Spec("from_key_bounds", (self.start,) if self.end is None else (self.start, self.end))

    @cached_property
    def _hidden(self) -> tuple[Ints, Ints]:
        """The queries that do not see a key: first and one past the last, `(B, H, K)` each."""
        given = self.start if self.start is not None else self.end
        assert given is not None
        start = np.full(given.shape, -_NO_BOUND) if self.start is None else self.start
        end = np.full(given.shape, _NO_BOUND) if self.end is None else np.minimum(self.end, _NO_BOUND)
        # A range of no queries lies beyond every query, so that it ends no range beside it.
        start, end = np.where(start < end, start, _NO_BOUND), np.where(start < end, end, _NO_BOUND)
        axes = {1: (0, 1), 2: (1,), 3: ()}[start.ndim]
        return np.expand_dims(start, axes), np.expand_dims(end, axes)

    @property
    def batch(self) -> int:
        return self._hidden[0].shape[0]

    @property
    def heads(self) -> int:
        return self._hidden[0].shape[1]

    def _check(self, extent: Extent) -> None:
        fix = "give each key its range of queries, an empty one where every query sees it"
        check_cover(self, "bounds number", np.array([self._hidden[0].shape[-1]]), extent, extent.keys, fix)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return self._spans_within(queries, kv_len, single(0, np.full((1, 1, 1), kv_len), kv_len))

    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        names, index = distinct(queries)
        start, end = (side[..., :kv_len] for side in self._hidden)
        # Past both ends of the keys lies one that no query sees: each run starts and ends where neighbours differ.
        border = np.full((*start.shape[:2], 1), _NO_BOUND)
        start, end = np.concatenate([-border, start, -border], axis=2), np.concatenate([border, end, border], axis=2)
        before, key = (start[..., :-1], end[..., :-1]), (start[..., 1:], end[..., 1:])
        opens, closes = _RunStarts(before, key, names), _RunStarts(key, before, names)
        shape = np.broadcast_shapes((*start.shape[:2], 1), queries.shape, extent.shape)
        low, high = (np.broadcast_to(side[0], shape) for side in (extent.planes_starts, extent.planes_ends))
        # An edge is sorted, a cell is only compared.
        if int((high - low).sum(dtype=np.int64)) < _CELLS_PER_EDGE * opens.total:
            return self._scan(np.broadcast_to(queries, shape), kv_len, low, high)
        check_budget(opens.most, low.size)  # before the edges are sorted
        row, first = np.divmod(opens.places(), kv_len + 1)
        last = closes.places() - row * (kv_len + 1)
        spans = take_rows(list_runs(row, first, last, (*start.shape[:2], len(names)), kv_len), index)
        return intersection(extent, spans)

    def _scan(self, queries: Queries, kv_len: int, low: Int32s, high: Int32s) -> Spans:
        """Return the rows at `queries` from the cells of keys `[low, high)` alone: `(B, H, Q)` each."""
        batch, heads, rows = queries.shape
        low, high, query = low.ravel(), high.ravel(), queries.ravel()
        hidden = [np.broadcast_to(side[..., :kv_len], (batch, heads, kv_len)).reshape(-1) for side in self._hidden]
        done = (high - low).cumsum(dtype=np.int64)
        runs: list[tuple[Ints, Ints, Ints]] = []
        i = 0
        while i < len(query):
            before = int(done[i - 1]) if i else 0
            j = max(int(np.searchsorted(done, before + CHUNK_CELLS, side="right")), i + 1)
            key, owner = repeat_ranges(low[i:j].astype(np.int64), high[i:j].astype(np.int64))
            row = owner + i
            place = row // rows * kv_len + key
            seen = (query[row] < hidden[0][place]) | (query[row] >= hidden[1][place])
            # A run goes on from one cell to the next where both are seen, in one row.
            goes_on = seen[1:] & seen[:-1] & (row[1:] == row[:-1])
            first, last = seen.copy(), seen.copy()
            first[1:] &= ~goes_on
            last[:-1] &= ~goes_on
            runs.append((row[first], key[first], key[last] + 1))
            i = j
        listed = [np.concatenate(side) for side in zip(*runs, strict=True)]
        return list_runs(listed[0], listed[1], listed[2], (batch, heads, rows), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        start, end = (side[min(cell.batch, self.batch - 1), min(cell.head, self.heads - 1)] for side in self._hidden)
        low, high = int(start[cell.key]), int(end[cell.key])
        if low >= high:
            return f"every query sees key {cell.key}"
        least, most = "…" if low == -_NO_BOUND else low, "…" if high == _NO_BOUND else high
        return f"key {cell.key} is hidden from queries [{least}, {most})"


class _RunStarts:
    """The starts of runs: the rows in which one key is hidden and its neighbour is not.

    Attributes:
        total: the number of edges.
        most: the largest number of them in one row, where rows count through batch, heads and queries.
    """

    def __init__(self, hidden: tuple[Ints, Ints], shown: tuple[Ints, Ints], names: Ints) -> None:
        """Cut ranges.

        Args:
            hidden: ranges of queries `(B, H, K + 1)`, in which the first key of each pair is hidden.
            shown: the same of the second key, outside of which it is shown.
            names: the queries, sorted.
        """
        # What is left of a range when another is cut out of it: a piece before and a piece after.
        low = np.stack([hidden[0], np.maximum(hidden[0], shown[1])])
        high = np.stack([np.minimum(hidden[1], shown[0]), hidden[1]])
        place = np.nonzero(low < high)
        self._first, self._last = (np.searchsorted(names, side[place]) for side in (low, high))
        self._place, self._shape = place, (low.shape[1], low.shape[2], len(names), low.shape[3])
        self.total = int((self._last - self._first).sum())

    @property
    def most(self) -> int:
        batch, heads, names, _ = self._shape
        plane = (self._place[1] * heads + self._place[2]) * (names + 1)
        changes = np.bincount(plane + self._first, minlength=batch * heads * (names + 1))
        changes -= np.bincount(plane + self._last, minlength=len(changes))
        return int(changes.cumsum().max(initial=0))

    def places(self) -> Ints:
        """Return `row * (K + 1) + key` of each edge, sorted."""
        _, heads, names, keys = self._shape
        row, owner = repeat_ranges(self._first, self._last)
        _, b, h, key = (axis[owner] for axis in self._place)
        return np.sort(((b * heads + h) * names + row) * keys + key)


@atom(Form("from_spans(starts, ends)", "", "`k` lies in one of the runs `[start, end)` of `q`"))
def from_spans(starts: Any, ends: Any) -> Mask:
    """Allow `k` in one of the runs `[start, end)` that each query is given: geometry from anywhere, never dense.

    Args:
        starts: int `(Q,)`, one run per query, or `(Q, R)`, `(B, Q, R)` or `(B, H, Q, R)`: the first key of each run.
            Runs come in any order and may overlap; one with `start >= end` is empty.
        ends: of the same shape: one past the last key of each run.

    A query before position 0 sees nothing. `from_spans(spans.starts, spans.ends)` reads a bound mask's own `spans`.

    Raises:
        MaskError: the shapes differ.
        GridError: on binding, the grid has more queries than runs were given for.

    | library | its way to say `from_spans` |
    | --- | --- |
    | FlexAttention | `custom`: `(k >= starts[q]) & (k < ends[q])` |
    | irregular timestamps `t`, the last `w` seconds | `np.searchsorted(t, t - w)`, `np.arange(len(t)) + 1` |

    >>> import maskwork as mw
    >>> mw.from_spans([0, 0, 2], [1, 2, 3]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    >>> mw.from_spans([[0, 2], [1, 0]], [[1, 4], [2, 0]]).bind(2, 4, q_start=0).spans.row(0)
    [(0, 1), (2, 4)]
    """
    sides: list[Ints] = []
    for value, name in ((starts, "from_spans(starts)"), (ends, "from_spans(ends)")):
        array = as_ints(value, name, ndims=(1, 2, 3, 4), minimum=None, squeeze=False)
        array = array[:, None] if array.ndim == 1 else array
        sides.append(array[None, None] if array.ndim == 2 else array[:, None] if array.ndim == 3 else array)
    if sides[0].shape != sides[1].shape:
        raise MaskError(
            f"from_spans takes a start and an end for each run, got shapes {np.shape(starts)} and {np.shape(ends)}; "
            "pass two arrays of one shape"
        )
    return _FromSpans(*sides)


@atom(Form("from_key_bounds(start, end)", "not start[k] <= q < end[k]", "each key says which queries may not see it"))
def from_key_bounds(start: Any = None, end: Any = None, *, allow: bool = False) -> Mask:
    """Allow what is `not start[k] <= q < end[k]`: each key says which queries may not see it (FlashMask's columns).

    Args:
        start: int `(K,)`, `(B, K)` or `(B, H, K)`: the first query that may not see each key; None = no first one.
        end: of the same shape: one past the last such query; None = no last one.
        allow: True: the range holds the queries that *may* see the key, and no other may.

    Queries before position 0 follow the formula. The cost grows with the length and the number of runs.

    Raises:
        MaskError: neither is given, or the shapes differ.
        GridError: on binding, the grid has more keys than bounds.

    | FlashMask `startend_row_indices[..., i]` (Wang et al. 2025) | mask |
    | --- | --- |
    | causal, 1 column | `causal() & from_key_bounds(c0)` |
    | causal, 2 columns | `causal() & from_key_bounds(c0, c1)` |
    | not causal, 2 columns | `from_key_bounds(c0) & from_key_bounds(end=c1)` |
    | not causal, 4 columns | `from_key_bounds(c0, c1) & from_key_bounds(c2, c3)` |

    Its heads are key heads: repeat each for its group of query heads.

    >>> import maskwork as mw
    >>> bool((mw.causal() & mw.from_key_bounds([2, 2, 4, 4])).bind(4).equals(mw.causal() & mw.document([2, 2])))
    True
    >>> mw.from_key_bounds([0, 1], [1, 2], allow=True).bind(2).dense().astype(int)[0, 0].tolist()
    [[1, 0], [0, 1]]
    """
    if start is None and end is None:
        raise MaskError("from_key_bounds takes start, end or both, got neither; pass mw.full() where all see all")
    if not isinstance(allow, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MaskError(f"from_key_bounds(allow) is True or False, got {allow!r:.40}; pass the columns apart")
    low = None if start is None else _bounds(start, "from_key_bounds(start)")
    high = None if end is None else _bounds(end, "from_key_bounds(end)")
    if low is not None and high is not None and low.shape != high.shape:
        raise MaskError(
            f"from_key_bounds takes a start and an end for each key, got shapes {low.shape} and {high.shape}; pass two "
            "arrays of one shape"
        )
    mask = _KeyBounds(low, high)
    return ~mask if allow else mask


def _bounds(value: Any, name: str) -> Ints:
    """Return bounds without axes of one batch row and one head."""
    hint = "pass one column at a time: columns[..., 0]"
    array = as_ints(value, name, ndims=(1, 2, 3), minimum=None, squeeze=False, hint=hint)
    if array.ndim == 3 and array.shape[1] == 1:
        array = array[:, 0]
    return array[0] if array.ndim == 2 and len(array) == 1 else array
