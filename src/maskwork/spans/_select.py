"""Chosen rows and chosen columns of a geometry, in any order, holes and repeats included."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from ..errors import TooManySpans
from ._algebra import union
from ._build import scan_rows
from ._runs import Ints
from ._spans import Spans, join_rows, single

#: Most cells that a selection may evaluate one by one, where its keys are too scattered for stretches.
MAX_CELLS = 1 << 32

# Up to this number of stretches of neighbouring keys, runs are cut to each stretch, and no cell is evaluated.
_STRETCHES = 64
# Cells that are evaluated in one call.
_CELLS = 1 << 24


def pick_rows(spans: Spans, rows: Ints) -> Spans:
    """Return the rows of these indices, in this order."""
    return Spans(spans.planes_starts[..., rows], spans.planes_ends[..., rows], spans.kv_len).trim()


def take_keys(spans: Spans, keys: Ints) -> Spans:
    """Return the geometry whose column `j` is key `keys[j]`; where `keys[j]` is -1, no row sees column `j`."""
    # keys = [4, 5, -1, 2]: sorted -1 2 4 5, so their ranks are 2 3 0 1. A run of keys is a range of ranks, and the
    # ranks of holes (-1) come first, below every run.
    order = np.argsort(keys, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(keys))
    ordered = keys[order]
    # Neighbouring columns with neighbouring ranks are one stretch: here columns [0, 2), [2, 4).
    cuts = np.flatnonzero(np.diff(rank) != 1) + 1
    stretches = [s for s in zip([0, *cuts.tolist()], [*cuts.tolist(), len(keys)], strict=True) if s[0] < s[1]]
    low = np.searchsorted(ordered, spans.planes_starts).astype(np.int64)
    high = np.searchsorted(ordered, spans.planes_ends).astype(np.int64)
    if len(stretches) <= _STRETCHES:
        parts: list[Spans] = []
        for first, last in stretches:
            shift = first - int(rank[first])
            for s, e in zip(low, high, strict=True):
                inside = np.maximum(s + shift, first), np.minimum(e + shift, last)
                parts.append(single(*inside, len(keys)))
        return reduce(union, parts) if parts else single(0, np.zeros(spans.shape, dtype=np.int64), 0)
    cells = low[0].size * len(keys)
    if cells > MAX_CELLS:
        raise TooManySpans(
            f"a selection of scattered keys may evaluate {MAX_CELLS} cells, got {cells} in {len(stretches)} stretches "
            "of keys; select fewer rows at a time, or keys in order"
        )
    step = max(_CELLS // max(low[0, ..., 0].size * len(keys), 1), 1)
    chunks = [(i, min(i + step, low.shape[-1])) for i in range(0, low.shape[-1], step)]
    parts = [_by_cell(low[..., i:j], high[..., i:j], rank) for i, j in chunks]
    return join_rows(parts, [j - i for i, j in chunks]) if parts else pick_rows(single(0, 0, len(keys)), np.arange(0))


def _by_cell(low: Ints, high: Ints, rank: Ints) -> Spans:
    """Return the runs of each row, from the test of every column."""
    column = rank.astype(np.int32)
    allowed = np.zeros((*low.shape[1:], len(rank)), dtype=np.bool_)
    for s, e in zip(low, high, strict=True):
        allowed |= (column >= s[..., None]) & (column < e[..., None])
    shape = (low.shape[1], low.shape[2], low.shape[3])
    return scan_rows([allowed.reshape(math.prod(shape), len(rank))], shape, len(rank))
