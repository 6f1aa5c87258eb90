"""How information gets from a key to a query through layers: the fewest steps, and one way."""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError
from .. import BoundMask


def path(once: BoundMask, q: int, k: int, layers: int, batch: int = 0) -> list[int] | None:
    """Positions from `q` to `k`, each seen by the one before it; None where `layers` layers do not suffice.

    Args:
        once: the mask's reach through one layer, on a grid whose queries begin at 0 and are no fewer than its keys.
        q: the query; one beyond the keys sees keys, and none sees it.
        k: the key.
        layers: the most steps.
        batch: row of the batch.

    >>> import maskwork as mw
    >>> path(mw.sliding_window(3).bind(10).reach(1), 9, 4, layers=4)
    [9, 8, 6, 4]
    """
    queries, keys = once.grid.q_len, once.grid.kv_len
    if not (0 <= q < queries and 0 <= k < keys):
        raise ArgumentError(
            f"a path is from a query in [0, {queries}) to a key in [0, {keys}); found {q} and {k}; ask for such"
        )
    starts, ends = _runs(once, batch)
    # Breadth first: the rows of each position are followed once, however many layers there are.
    distance = np.full(queries, -1)
    distance[q] = 0
    new = np.array([q])
    for step in range(1, layers + 1):
        if distance[k] >= 0 or not len(new):
            break
        opened, closed = (np.bincount(edges[:, new].ravel(), minlength=keys + 1) for edges in (starts, ends))
        seen = (opened - closed).cumsum()[:keys] > 0
        new = np.flatnonzero(seen & (distance[:keys] < 0))
        distance[new] = step
    if distance[k] < 0:
        return None
    steps = [k]
    for left in range(int(distance[k]) - 1, -1, -1):
        here = steps[-1]
        sees = ((starts <= here) & (here < ends)).any(axis=0)
        able = np.flatnonzero(sees & (distance == left))
        steps.append(int(able[np.abs(able - q).argmin()]))
    return steps[::-1]


def _runs(once: BoundMask, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """int (R, Q) each: the runs [start, end) of every query in one row of the batch."""
    spans = once.spans
    b = min(batch, spans.shape[0] - 1)
    starts, ends = spans.planes_starts[:, b, 0], spans.planes_ends[:, b, 0]
    shape = len(starts), once.grid.q_len
    return np.broadcast_to(starts, shape), np.broadcast_to(ends, shape)
