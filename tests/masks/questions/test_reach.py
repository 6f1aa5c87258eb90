"""The reach is the boolean power of the dense mask with its diagonal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.geometry import GridOf, bind, spans_of
from helpers.strategies import Case, cases, grids
from maskwork.errors import TooManySpans


@settings(max_examples=200)
@given(cases, grids(), st.integers(0, 4))
def test_reach_is_the_boolean_power(case: Case, grid: GridOf, layers: int):
    q_start, q_len, kv_len = grid
    bound = bind(case, grid)
    size = max(q_start + q_len, kv_len)
    # A position is a query and, where it is below kv_len, a key. Residuals keep each at itself.
    step = case.dense(0, size, kv_len).any(axis=1) | np.eye(size, kv_len, dtype=bool)
    reached = np.broadcast_to(np.eye(size, kv_len, dtype=bool), step.shape)
    for _ in range(layers):
        through = (step[:, :, :, None] & reached[:, None, :kv_len]).any(axis=2)
        reached = through | reached
    answer = bound.reach(layers).dense()
    expected = reached[:, None, q_start : q_start + q_len]
    assert np.array_equal(np.broadcast_to(answer, expected.shape), expected)


def test_reach_at_length_and_beyond_its_budget():
    bound = (mw.causal() & (mw.sliding_window(16) | mw.sinks(2))).bind(100_000)
    assert bound.reach(8).spans.row(90_000) == [(0, 2), (90_000 - 8 * 15, 90_001)]
    with pytest.raises(TooManySpans, match="reach may merge 1000 interval slots"):
        bound.reach(3, budget=1000)
    closed = mw.causal().bind(1000).reach(1000)
    assert closed.equals(mw.causal())


def test_reach_joins_heads_and_keeps_batch_rows_apart():
    dense = np.zeros((2, 3, 6, 6), dtype=bool)
    dense[0, 0, 5, 3] = dense[0, 2, 3, 1] = dense[1, 1, 5, 4] = True
    spans = spans_of(dense)
    bound = mw.BoundMask(mw.full(), mw.Grid(0, 6, 6, 2, 3), spans)
    expected = np.stack([np.eye(6, dtype=bool)] * 2)[:, None]
    for b, q, k in ((0, 5, 3), (0, 3, 1), (0, 5, 1), (1, 5, 4)):
        expected[b, 0, q, k] = True
    assert np.array_equal(bound.reach(2).dense(), expected)
