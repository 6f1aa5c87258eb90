"""`BlockRuns`: for each row of blocks, runs of neighbouring blocks; a sparse matrix that never lists what is dense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Positions and counts of the whole package.
Ints = npt.NDArray[np.int64]
#: Columns of blocks.
Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class BlockRuns:
    """Rows of blocks as runs `[start, end)` of block columns, in compressed sparse row form.

    Attributes:
        indptr: int64 `(rows + 1,)`; row `i` holds the runs `indptr[i]` to `indptr[i + 1]`.
        starts: int32 `(runs,)`; the first column of each run, ascending within a row.
        ends: int32 `(runs,)`; one past its last column. Runs of a row neither overlap nor touch.
        shape: `(lead, rows, columns)`; `lead` counts the (batch, head) pairs, and `indptr` has `lead * rows` rows.
    """

    # The 3 x 3 blocks █ █ ·  are  indptr  0 1 1 3   row 0 holds run 0, row 1 none, row 2 runs 1 and 2
    #                  · · ·       starts  0 0 2
    #                  █ · █       ends    2 1 3
    indptr: Ints
    starts: Int32s
    ends: Int32s
    shape: tuple[int, int, int]

    @property
    def count(self) -> int:
        """Number of blocks, computed without listing them."""
        return int(self.ends.sum(dtype=np.int64) - self.starts.sum(dtype=np.int64))

    def counts(self) -> Ints:
        """Return the number of blocks in each row: int64 `(lead, rows)`."""
        total = np.concatenate([[0], (self.ends - self.starts).cumsum(dtype=np.int64)])
        return np.diff(total[self.indptr]).reshape(self.shape[:2])

    def csr(self) -> tuple[Ints, Int32s]:
        """Return row pointers and the column of every block: int64 `(lead * rows + 1,)` and int32 `(count,)`."""
        lengths = (self.ends - self.starts).astype(np.int64)
        first = lengths.cumsum() - lengths
        indices = np.arange(self.count, dtype=np.int32)
        # Within a run, the column minus the index in the list is constant.
        indices += np.repeat((self.starts - first).astype(np.int32), lengths)
        return np.concatenate([[0], self.counts().ravel().cumsum()]), indices

    def dense(self) -> npt.NDArray[np.bool_]:
        """Return the matrix of blocks: bool `(lead, rows, columns)`."""
        lead, rows, columns = self.shape
        indptr, indices = self.csr()
        out = np.zeros((lead * rows, columns), dtype=np.bool_)
        out[np.repeat(np.arange(lead * rows), np.diff(indptr)), indices] = True
        return out.reshape(self.shape)

    def transpose(self) -> BlockRuns:
        """Return the same blocks by column, as runs of rows. The work follows the number of runs, not of blocks.

        A run of rows opens at a row with a block in a column where the row before has none, and closes at the next row
        without.
        """
        lead, rows, columns = self.shape
        row = np.repeat(np.arange(lead * rows), np.diff(self.indptr))
        row += row // max(rows, 1)  # an empty row after the last of each (batch, head) closes the open runs
        current, previous = (row, self.starts, self.ends), (row + 1, self.starts, self.ends)
        opened = self._expand(subtract(current, previous, columns), rows)
        closed = self._expand(subtract(previous, current, columns), rows)
        # Both are sorted by column and then by row, so that the k-th opening belongs to the k-th closing.
        line = opened // (rows + 1)
        indptr = np.searchsorted(line, np.arange(lead * columns + 1))
        return BlockRuns(
            np.asarray(indptr, dtype=np.int64),
            (opened % (rows + 1)).astype(np.int32),
            (closed % (rows + 1)).astype(np.int32),
            (lead, columns, rows),
        )

    def _expand(self, runs: tuple[Ints, Int32s, Int32s], rows: int) -> Ints:
        """Return the sorted keys `(lead * columns + column) * (rows + 1) + row` of every block in `runs`."""
        row, starts, ends = runs
        lengths = (ends - starts).astype(np.int64)
        column = np.arange(int(lengths.sum())) + np.repeat(starts - (lengths.cumsum() - lengths), lengths)
        lead, within = np.divmod(np.repeat(row, lengths), rows + 1)
        return np.sort((lead * self.shape[2] + column) * (rows + 1) + within)


#: Runs `(row, start, end)`, in row order.
Ragged = tuple[Ints, Int32s, Int32s]


def subtract(a: Ragged, b: Ragged, columns: int) -> Ragged:
    """Return the runs of `a` without those of `b`. Operands and result are canonical and in row order."""
    width = columns + 1
    keys = np.concatenate([a[0] * width + a[1], a[0] * width + a[2], b[0] * width + b[1], b[0] * width + b[2]])
    # A sweep over all edges: +1 inside a, -2 inside b, so that the sum is 1 exactly where only a has a run.
    steps = np.repeat(np.array([1, -1, -2, 2], dtype=np.int8), [len(a[0]), len(a[0]), len(b[0]), len(b[0])])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    inside = steps[order].cumsum(dtype=np.int64)[:-1] == 1
    keep = np.flatnonzero(inside & (keys[1:] > keys[:-1]))
    row, start = np.divmod(keys[keep], width)
    return row, start.astype(np.int32), (keys[keep + 1] - row * width).astype(np.int32)
