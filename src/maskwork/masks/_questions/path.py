"""The path of information from a key to a query through layers: the positions on one shortest path."""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError
from ...spans import Spans


def path(step: Spans, q: int, k: int, layers: int, batch: int = 0) -> list[int] | None:
    """Return positions from `q` to `k`, each seen by the position before; None where `layers` layers do not suffice.

    Args:
        step: spans of the reach through one layer, of queries `[0, Q)` with Q at least the number of keys.
        q: the query; a query beyond the keys sees keys, and no query sees its position.
        k: the key.
        layers: the most steps.
        batch: batch row.

    >>> import maskwork as mw
    >>> path(mw.sliding_window(3).bind(10).reach(1).spans, 9, 4, layers=4)
    [9, 8, 6, 4]
    """
    queries, keys = step.shape[2], step.kv_len
    if not (0 <= q < queries and 0 <= k < keys):
        raise ArgumentError(
            f"a path is from a query in [0, {queries}) to a key in [0, {keys}), got query {q} and key {k}"
        )
    plane = step.plane(batch)
    starts, ends = plane.planes_starts[:, 0, 0], plane.planes_ends[:, 0, 0]
    # Breadth first: the row of each position is followed once, however many layers there are.
    distance = np.full(queries, -1)
    distance[q] = 0
    new = np.array([q])
    for layer in range(1, layers + 1):
        if distance[k] >= 0 or not len(new):
            break
        # A key is visible where more runs of the new rows have started than ended.
        opened, closed = (np.bincount(edges[:, new].ravel(), minlength=keys + 1) for edges in (starts, ends))
        visible = (opened - closed).cumsum()[:keys] > 0
        new = np.flatnonzero(visible & (distance[:keys] < 0))
        distance[new] = layer
    if distance[k] < 0:
        return None
    # Back from the key: of the positions one layer nearer that see the current one, take the nearest to the query.
    positions = [k]
    for layer in range(int(distance[k]) - 1, -1, -1):
        current = positions[-1]
        sees = ((starts <= current) & (current < ends)).any(axis=0)
        candidates = np.flatnonzero(sees & (distance == layer))
        positions.append(int(candidates[np.abs(candidates - q).argmin()]))
    return positions[::-1]
