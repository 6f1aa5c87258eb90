"""The last row that sees each key, against the dense definition."""

import numpy as np
import pytest
from hypothesis import given, settings

from helpers.geometry import GridOf, bind
from helpers.strategies import Case, cases, grids
from maskwork import spans as sp


@settings(max_examples=200)
@given(cases, grids())
def test_last_seen(case: Case, grid: GridOf):
    bound = bind(case, grid)
    dense = bound.dense()
    positions = grid[0] + np.arange(grid[1])
    expected = np.where(dense, positions[:, None], -1).max(axis=2, initial=-1)
    assert np.array_equal(bound.last_seen(), expected)


@pytest.mark.parametrize("width", [20, 3, 0])
def test_last_seen_where_each_row_has_keys_of_its_own(width: int):
    """Counting what later rows hold is begun, and given up: random windows that move along the keys."""
    rng, rows, kv_len = np.random.default_rng(width), 70_000, 400
    first = np.arange(rows) * kv_len // rows - rng.integers(0, 60, rows)
    spans = sp.single(first[None, None], (first + rng.integers(1, 2 + width * 4, rows))[None, None], kv_len)
    seen = sp.last_seen(spans)[0, 0]
    starts, ends = spans.planes_starts[0, 0, 0], spans.planes_ends[0, 0, 0]
    for key in range(kv_len):
        assert seen[key] == np.flatnonzero((starts <= key) & (key < ends)).max(initial=-1)
