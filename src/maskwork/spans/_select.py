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
# Most pieces, runs times stretches, that are cut and joined: each joins all before it.
_PIECES = 256
# Cells that are evaluated in one call.
_CELLS = 1 << 22


def pick_rows(spans: Spans, rows: Ints) -> Spans:
    """Return the rows of these indices, in this order."""
    one = spans.one_row()
    if one is not spans and len(rows):
        return one.expand((*spans.shape[:2], len(rows)))
    return Spans(spans.planes_starts[..., rows], spans.planes_ends[..., rows], spans.kv_len).trim()


def take_keys(spans: Spans, keys: Ints) -> Spans:
    """Return the geometry whose column `j` is key `keys[j]`; where `keys[j]` is -1, no row sees column `j`."""
    one = spans.one_row()
    if one is not spans:
        taken = take_keys(one, keys)
        return taken.expand((*taken.shape[:2], spans.shape[2]))
    # keys = [4, 5, -1, 2]: sorted -1 2 4 5, so their ranks are 2 3 0 1. A run of keys is a range of ranks, and the
    # ranks of holes (-1) come first, below every run.
    order = np.argsort(keys, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(keys))
    ordered = keys[order]
    # Neighbouring columns with neighbouring ranks are one stretch: here columns [0, 2), [2, 4).
    cuts = np.flatnonzero(np.diff(rank) != 1) + 1
    stretches = [s for s in zip([0, *cuts.tolist()], [*cuts.tolist(), len(keys)], strict=True) if s[0] < s[1]]
    if len(stretches) <= _STRETCHES and len(stretches) * spans.runs <= _PIECES:
        low = np.searchsorted(ordered, spans.planes_starts).astype(np.int64)
        high = np.searchsorted(ordered, spans.planes_ends).astype(np.int64)
        parts: list[Spans] = []
        for first, last in stretches:
            shift = first - int(rank[first])
            for s, e in zip(low, high, strict=True):
                inside = np.maximum(s + shift, first), np.minimum(e + shift, last)
                parts.append(single(*inside, len(keys)))
        return reduce(union, parts) if parts else single(0, np.zeros(spans.shape, dtype=np.int64), 0)
    rows = spans.shape[2]
    cells = math.prod(spans.shape) * len(keys)
    if cells > MAX_CELLS:
        raise TooManySpans(
            f"a selection of scattered keys may evaluate {MAX_CELLS} cells, got {cells} in {len(stretches)} stretches "
            "of keys; select fewer rows at a time, or keys in order"
        )
    step = max(_CELLS // max(math.prod(spans.shape[:2]) * max(len(keys), spans.runs), 1), 1)
    chunks = [(i, min(i + step, rows)) for i in range(0, rows, step)]
    parts = [_by_cell(spans.rows(i, j), keys) for i, j in chunks]
    return join_rows(parts, [j - i for i, j in chunks]) if parts else pick_rows(single(0, 0, len(keys)), np.arange(0))


def _by_cell(spans: Spans, keys: Ints) -> Spans:
    """Return the chosen keys of each row, found by bisection among the row's runs."""
    # Rows one after the other on one line of numbers, so that one search serves all: row i begins at i * width.
    shape, width = spans.shape, spans.kv_len + 1
    rows = math.prod(shape)
    offset = np.arange(rows, dtype=np.int64)[:, None] * width
    starts, ends = (np.moveaxis(side, 0, -1).reshape(rows, -1) for side in (spans.planes_starts, spans.planes_ends))
    run = np.searchsorted((starts + offset).ravel(), offset + keys, side="right") - 1
    # The last run that starts at or before the key, if it is of the same row, holds the key or no run does.
    own = run >= np.arange(rows, dtype=np.int64)[:, None] * spans.runs
    allowed = own & (keys >= 0) & (keys < ends.ravel()[np.maximum(run, 0)])
    return scan_rows([allowed], shape, len(keys))
