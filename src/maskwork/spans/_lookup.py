"""The intersection of many rows with one row of many runs: each run of a row looks up the runs that it meets.

The merge of `_algebra` takes time in the runs of both. A window over 70,000 keys, of which every second one is real,
meets 4 of 35,000 runs.
"""

from __future__ import annotations

import numpy as np

from ._runs import Ints
from ._spans import Planes, Spans, check_budget

#: The fewest runs of the one row for which looking up is faster than merging.
LEAST_RUNS = 8

# The run [2, 7) of a row, against the one row's runs:
#
#    ends <= 2: 1 run      starts < 7: 4 runs      so it meets runs 1, 2 and 3, each cut to [2, 7)
#
#    run 0   1     2     3       4
#     [0,1) [2,3) [4,5) [6,8)  [9,10)


def intersect_row(many: Spans, row: Spans) -> tuple[Planes, Planes]:
    """Return sorted planes, empty runs among them, of the cells that `many` and the one row of `row` allow.

    Args:
        many: rows of few runs.
        row: one row `(B, H, 1)` of many runs.
    """
    lead = np.broadcast_shapes(many.shape[:2], row.shape[:2])
    parts: list[tuple[tuple[slice, slice], list[Planes], list[Planes]]] = []
    for b, h in np.ndindex(row.shape[:2]):
        used = int((row.planes_starts[:, b, h, 0] < row.kv_len).sum())
        runs = row.planes_starts[:used, b, h, 0], row.planes_ends[:used, b, h, 0]
        # An axis along which the one row does not differ keeps all its rows.
        where = (
            slice(b, b + 1) if row.shape[0] > 1 else slice(None),
            slice(h, h + 1) if row.shape[1] > 1 else slice(None),
        )
        own = tuple(part if n > 1 else slice(None) for part, n in zip(where, many.shape, strict=False))
        parts.append((where, *_meet(many.planes_starts[:, *own], many.planes_ends[:, *own], *runs, many.kv_len, lead)))
    slots = max(max(len(starts) for _, starts, _ in parts), 1)
    check_budget(slots, lead[0] * lead[1] * many.shape[2])
    out = np.full((2, slots, *lead, many.shape[2]), many.kv_len, dtype=np.int32)
    for where, starts, ends in parts:
        for i, planes in enumerate(zip(starts, ends, strict=True)):
            out[0, i, *where], out[1, i, *where] = planes
    return out[0], out[1]


def _meet(
    starts: Planes, ends: Planes, run_starts: Planes, run_ends: Planes, kv_len: int, lead: tuple[int, int]
) -> tuple[list[Planes], list[Planes]]:
    """Return, plane by plane, each run of `starts` and `ends` cut to each of the runs that it meets."""
    met: tuple[list[Planes], list[Planes]] = ([], [])
    for start, end in zip(starts, ends, strict=True):
        first: Ints = np.asarray(np.searchsorted(run_ends, start, side="right"), dtype=np.int64)
        count: Ints = np.asarray(np.searchsorted(run_starts, end, side="left"), dtype=np.int64) - first
        most = int(count.max(initial=0))
        check_budget(len(met[0]) + most, lead[0] * lead[1] * start.shape[-1])
        for i in range(most):
            inside = count > i
            index = np.minimum(first + i, len(run_starts) - 1)
            met[0].append(np.where(inside, np.maximum(run_starts[index], start), np.int32(kv_len)))
            met[1].append(np.where(inside, np.minimum(run_ends[index], end), np.int32(kv_len)))
    return met
