"""A selection is the dense mask, indexed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.geometry import GridOf, bind, spans_of
from helpers.strategies import Case, cases, grids
from maskwork import spans as sp
from maskwork.errors import GridError, TooManySpans


@settings(max_examples=200)
@given(cases, grids(), st.data())
def test_select_takes_any_rows_and_keys(case: Case, grid: GridOf, data: st.DataObject):
    q_start, q_len, kv_len = grid
    bound = bind(case, grid)
    dense = bound.dense()
    if data.draw(st.booleans()):
        bound = bind(case, grid)  # whose spans are not known yet
    q = data.draw(st.none() | st.lists(st.integers(q_start, q_start + q_len - 1), max_size=8)) if q_len else None
    k = data.draw(st.none() | st.lists(st.integers(-1, kv_len - 1), max_size=9)) if kv_len else None
    picked = bound.select(q=q, k=k)
    expected = dense if q is None else dense[:, :, np.array(q, dtype=int) - q_start]
    if k is not None:
        keys = np.array(k, dtype=int)
        expected = expected[..., keys] & (keys >= 0)
    assert picked.shape == (*picked.shape[:2], *expected.shape[2:])
    assert np.array_equal(picked.dense(), np.broadcast_to(expected, (*picked.shape[:2], *expected.shape[2:])))
    again = spans_of(picked.dense())
    assert again.runs == picked.spans.runs, "a selection is canonical"
    assert np.array_equal(again.planes_starts, picked.spans.planes_starts)
    assert np.array_equal(again.planes_ends, picked.spans.planes_ends)


def test_select_of_many_scattered_keys_looks_at_cells():
    bound = (mw.causal() & (mw.sliding_window(50) | mw.sinks(3))).bind(400)
    keys = np.random.default_rng(0).permutation(400)
    assert np.array_equal(bound.select(k=keys).dense(), bound.dense()[..., keys])


def test_select_says_what_it_takes():
    bound = mw.causal().bind(4)
    with pytest.raises(GridError, match=r"select\(k\) takes positions in \[-1, 4\), got 0 to 4"):
        bound.select(k=[0, 4])
    with pytest.raises(GridError, match=r"select\(q\) takes positions in \[0, 4\)"):
        bound.select(q=[-1])
    with pytest.raises(GridError, match="got 2 rows; pass as many as batch rows, or bind with batch=2"):
        bound.select(k=[[0, 1], [1, 2]])
    ragged = mw.causal().bind(2, 4, q_start=[0, 2])
    with pytest.raises(GridError, match=r"select\(q\) takes positions in \[2, 4\) in batch row 1, got 1 to 1"):
        ragged.select(q=[1])
    with pytest.raises(GridError, match="known on its own grid alone"):
        bound.select(q=[1, 2]).mask.bind(3, 4, q_start=0).dense()
    with pytest.raises(TooManySpans, match="may evaluate 4294967296 cells"):
        sp.take_keys(mw.causal().bind(1 << 20).spans, np.random.default_rng(0).permutation(1 << 20))
