"""Which rows a step trains on: a pure function of seed and step, so a resumed run needs nothing stored."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError


def rows_of_step(n_rows: int, rows_per_step: int, seed: int, step: int) -> npt.NDArray[np.int64]:
    """The indices of the rows of step `step` (counted from 0): int64 (rows_per_step,), each in [0, n_rows).

    The rows are dealt from one long stream, a fresh permutation per epoch, so each row comes once per epoch
    and a step may straddle two. With fewer rows than a step needs, rows recur within it.

    Raises:
        ArgumentError: there are no rows.

    >>> first, second = rows_of_step(4, 2, seed=0, step=0), rows_of_step(4, 2, seed=0, step=1)
    >>> sorted([*first.tolist(), *second.tolist()])
    [0, 1, 2, 3]
    """
    if n_rows < 1:
        raise ArgumentError("training needs at least one row; found none; give more text or a smaller context")
    begin = step * rows_per_step
    epoch, place = np.divmod(np.arange(begin, begin + rows_per_step), n_rows)
    order = np.empty(rows_per_step, dtype=np.int64)
    for each in np.unique(epoch):
        here = epoch == each
        order[here] = _permutation(n_rows, seed, int(each))[place[here]]
    return order


# Without the memo, each step would sort its whole epoch again.
@lru_cache(maxsize=2)
def _permutation(n_rows: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    # The bits of PCG64 are the same in every NumPy; `Generator.permutation` may change between versions.
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(n_rows)
    order = np.argsort(bits, kind="stable")
    order.setflags(write=False)  # it is shared by the memo
    return order
