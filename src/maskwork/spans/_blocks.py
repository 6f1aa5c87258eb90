"""Exact block structure: which blocks of a grid are empty, partly allowed or fully allowed, without visiting a cell.

In block columns, a run [s, e) of one row touches [floor(s), ceil(e)) and covers all of [ceil(s), floor(e)). A block is
touched when any of its rows touches the block, and full when each of its rows covers the block, within one run since
runs are merged. So both sets are "the columns that at least t of these intervals contain", with t = 1 and t = rows.
With starts and ends sorted separately, the k-th piece of such a set is [start k + t - 1, end k): one sort for each row
of blocks, and no cell is visited.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._runs import BlockRuns, Int32s, Ints, subtract
from ._spans import Planes, Spans

# causal on 8 queries and keys in blocks of 4 x 4; the second row of blocks, queries 4 to 7 (`|` parts block columns):
#
#    query 4  █ █ █ █ | █ · · ·    run [0, 5)   touches columns [0, 2)   covers columns [0, 1)
#          5  █ █ █ █ | █ █ · ·    run [0, 6)           [0, 2)                  [0, 1)
#          6  █ █ █ █ | █ █ █ ·    run [0, 7)           [0, 2)                  [0, 1)
#          7  █ █ █ █ | █ █ █ █    run [0, 8)           [0, 2)                  [0, 2)
#               full  | partial    touched by at least 1 row: [0, 2)   covered by all 4 rows: [0, 1)

# Interval ends that are sorted in one call: they fit the second-level cache.
_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of a grid, `partial` (some cells allowed) or `full` (all cells allowed); the others are empty.

    Attributes:
        touched: blocks with any allowed cell, as runs of kv blocks for each row of q blocks.
        full: blocks with every cell allowed.
        block_size: `(q, kv)` cells in a block; the last row and column of blocks may be shorter.
        lengths: `(Q, K)`, the grid.
        lead: `(B, H)`, 1 where nothing differs along them.

    >>> import maskwork as mw
    >>> blocks = mw.causal().bind(512).blocks(128)
    >>> print(blocks.dense()[0, 0])                 # 0 empty, 1 partial, 2 full
    [[1 0 0 0]
     [2 1 0 0]
     [2 2 1 0]
     [2 2 2 1]]
    >>> mw.causal().bind(1 << 20).blocks(128)        # 33 million full blocks are 8191 runs
    Blocks(8192 x 8192 of 128 x 128: 33550336 full, 8192 partial, 33550336 empty)
    """

    touched: BlockRuns
    full: BlockRuns
    block_size: tuple[int, int]
    lengths: tuple[int, int]
    lead: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(B, H, rows of blocks, columns of blocks)`."""
        return (*self.lead, *self.touched.shape[1:])

    @property
    def partial(self) -> BlockRuns:
        """Blocks that are touched but not full: computed on each access."""
        lead, rows, columns = self.touched.shape
        row, starts, ends = subtract(_ragged(self.touched), _ragged(self.full), columns)
        return BlockRuns(_indptr(row, lead * rows), starts, ends, (lead, rows, columns))

    @property
    def n_full(self) -> int:
        """Number of blocks with every cell allowed."""
        return self.full.count

    @property
    def n_partial(self) -> int:
        """Number of blocks with some cells allowed and some not."""
        return self.touched.count - self.full.count

    @property
    def n_empty(self) -> int:
        """Number of blocks without an allowed cell: a block-sparse kernel skips them."""
        return int(np.prod(self.shape, dtype=np.int64)) - self.touched.count

    @property
    def cells(self) -> int:
        """Number of the grid's cells in touched blocks: a block-sparse kernel computes them all."""
        (q_size, kv_size), (q_len, kv_len) = self.block_size, self.lengths
        _, rows, columns = self.touched.shape
        # The last row and the last column of blocks may be shorter than the others.
        height = np.full(rows, q_size, dtype=np.int64)
        height[-1:] = q_len - max(rows - 1, 0) * q_size
        missing = columns * kv_size - kv_len  # cells that the last column of blocks lacks
        row = np.repeat(np.arange(len(self.touched.indptr) - 1), np.diff(self.touched.indptr)) % max(rows, 1)
        width = (self.touched.ends - self.touched.starts).astype(np.int64) * kv_size
        width -= np.where(self.touched.ends == columns, missing, 0)
        return int((width * height[row]).sum())

    def dense(self) -> npt.NDArray[np.int8]:
        """Return the kind of every block: int8 `(B, H, rows, columns)`, 0 empty, 1 partial, 2 full. For small grids."""
        return (self.touched.dense().astype(np.int8) + self.full.dense()).reshape(self.shape)

    def __repr__(self) -> str:
        (_, _, rows, columns), (q, k) = self.shape, self.block_size
        lead = "" if self.lead == (1, 1) else f"{self.lead[0]} x {self.lead[1]} x "
        counts = f"{self.n_full} full, {self.n_partial} partial, {self.n_empty} empty"
        return f"Blocks({lead}{rows} x {columns} of {q} x {k}: {counts})"


def classify(spans: Spans, q_size: int, kv_size: int, *, short_is_full: bool = True) -> Blocks:
    """Determine which blocks of `q_size` x `kv_size` cells are empty, partial and full; rows are numbered from 0.

    Where a length is not a multiple of the block size, the last block is short. A short block counts as full when all
    its cells are allowed; with `short_is_full=False` it never does, as if forbidden cells filled it up. The second is
    the rule of FlexAttention's `create_block_mask`.
    """
    batch, heads, q_len = spans.shape
    if spans.one_row() is not spans:
        return _classify_one_row(spans, q_size, kv_size, short_is_full)
    rows, columns = -(-q_len // q_size), -(-spans.kv_len // kv_size)
    step = max(_CHUNK // (spans.runs * q_size), 1)
    touched: list[tuple[Ints, Int32s, Int32s]] = []
    full: list[tuple[Ints, Int32s, Int32s]] = []
    for lead in range(batch * heads):
        b, h = divmod(lead, heads)
        for i in range(0, rows, step):
            part = slice(i * q_size, (i + step) * q_size)
            starts, ends = spans.planes_starts[:, b, h, part], spans.planes_ends[:, b, h, part]
            row = lead * rows + i
            for columns_of, least, blocks in ((_touched, 1, touched), (_covered, q_size, full)):
                low, high = columns_of(starts, ends, spans.kv_len, kv_size, short_is_full=short_is_full)
                low, high = (_by_block(plane, q_size, columns, short_is_full) for plane in (low, high))
                blocks.append(_columns_in(low, high, least, row))
    shape = (batch * heads, rows, columns)
    lengths = (q_len, spans.kv_len)
    return Blocks(_collect(touched, shape), _collect(full, shape), (q_size, kv_size), lengths, (batch, heads))


def _classify_one_row(spans: Spans, q_size: int, kv_size: int, short_is_full: bool) -> Blocks:
    """Classify where one row stands for all: blocks of one row, repeated."""
    batch, heads, q_len = spans.shape
    one = classify(spans.one_row(), 1, kv_size, short_is_full=short_is_full)
    rows = -(-q_len // q_size)
    full_rows = rows if short_is_full else q_len // q_size  # a short last row of blocks may never count as full
    touched, full = _repeat(one.touched, rows, rows), _repeat(one.full, full_rows, rows)
    return Blocks(touched, full, (q_size, kv_size), (q_len, spans.kv_len), (batch, heads))


def _repeat(row: BlockRuns, times: int, rows: int) -> BlockRuns:
    """Return one row of blocks for each lead `times` times, followed by empty rows up to `rows`."""
    lead, _, columns = row.shape
    edges: list[int] = row.indptr.tolist()
    parts: list[Ints] = [np.tile(np.arange(edges[i], edges[i + 1], dtype=np.int64), times) for i in range(lead)]
    index: Ints = np.concatenate(parts)
    counts = np.zeros((lead, rows), dtype=np.int64)
    counts[:, :times] = np.diff(row.indptr)[:, None]
    indptr = np.concatenate([[0], counts.ravel().cumsum()])
    return BlockRuns(indptr, row.starts[index], row.ends[index], (lead, rows, columns))


def _touched(starts: Planes, ends: Planes, kv_len: int, size: int, *, short_is_full: bool) -> tuple[Planes, Planes]:
    """Return the block columns `[low, high)` that each run touches; an unused slot is past the last column."""
    low, high = starts // np.int32(size), -(-ends // np.int32(size))
    if kv_len % size:
        low[starts >= kv_len] = -(-kv_len // size)  # unused slots: kv_len // size would be the short last column
    return low, high


def _covered(starts: Planes, ends: Planes, kv_len: int, size: int, *, short_is_full: bool) -> tuple[Planes, Planes]:
    """Return the block columns `[low, high)` that each run fully covers; a run without any is past the last column."""
    columns = -(-kv_len // size)
    low, high = -(-starts // np.int32(size)), ends // np.int32(size)
    if kv_len % size and short_is_full:
        high[ends >= kv_len] = columns
    empty = low >= high
    low[empty] = columns
    high[empty] = columns
    return low, high


def _by_block(planes: Planes, q_size: int, columns: int, short_is_full: bool) -> Planes:
    """Collect the planes of each row of blocks and sort them: int32 `(rows of blocks, R * q_size)`.

    A short last row of blocks is filled up with copies of its last row, which change neither the touched blocks nor the
    full ones. Where a short block is never full, empty rows fill it up instead.
    """
    runs, q_len = planes.shape
    rows = -(-q_len // q_size)
    if rows * q_size != q_len:
        fill = planes[:, -1:] if short_is_full else np.full((runs, 1), columns, dtype=np.int32)
        planes = np.concatenate([planes, np.repeat(fill, rows * q_size - q_len, axis=1)], axis=1)
    side_by_side = planes.reshape(runs, rows, q_size).swapaxes(0, 1).reshape(rows, runs * q_size)
    return np.sort(side_by_side, axis=1)


def _columns_in(starts: Planes, ends: Planes, least: int, first_row: int) -> tuple[Ints, Int32s, Int32s]:
    """Return the columns that at least `least` of each row's sorted intervals contain, as merged runs."""
    # piece k is [start k + least - 1, end k)
    starts, ends = starts[:, least - 1 :], ends[:, : starts.shape[1] - least + 1]
    # Piece k opens a run when it starts beyond the end of piece k - 1, and closes a run when piece k + 1 opens one.
    apart = starts[:, 1:] > ends[:, :-1]
    edge = np.ones((len(starts), 1), dtype=np.bool_)
    opens = np.flatnonzero(np.concatenate([edge, apart], axis=1))
    closes = np.flatnonzero(np.concatenate([apart, edge], axis=1))
    low, high = starts.ravel()[opens], ends.ravel()[closes]
    keep = np.flatnonzero(low < high)
    return first_row + opens[keep] // max(starts.shape[1], 1), low[keep], high[keep]


def _collect(parts: list[tuple[Ints, Int32s, Int32s]], shape: tuple[int, int, int]) -> BlockRuns:
    empty = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    row, starts, ends = (np.concatenate(arrays) for arrays in zip(empty, *parts, strict=True))
    return BlockRuns(_indptr(row, shape[0] * shape[1]), starts, ends, shape)


def _indptr(row: Ints, rows: int) -> Ints:
    return np.concatenate([[0], np.bincount(row, minlength=rows).cumsum()]).astype(np.int64)


def _ragged(runs: BlockRuns) -> tuple[Ints, Int32s, Int32s]:
    return np.repeat(np.arange(len(runs.indptr) - 1), np.diff(runs.indptr)), runs.starts, runs.ends
