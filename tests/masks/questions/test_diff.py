"""`diff` counts what two dense masks differ in, and names the first cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import Case, cases, grids


@given(cases, cases, grids(), st.integers(0, 5))
def test_diff_is_what_the_dense_masks_differ_in(a: Case, b: Case, grid: tuple[int, int, int], first: int):
    q_start, q_len, kv_len = grid
    left, right = (case.mask.bind(q_len, kv_len, q_start=q_start) for case in (a, b))
    here, there = np.broadcast_arrays(left.dense(), right.dense())
    diff = left.diff(right, first=first)
    assert (diff.both, diff.neither) == ((here & there).sum(), (~here & ~there).sum())
    for count, cells, dense in (
        (diff.only_left, diff.first_left, here & ~there),
        (diff.only_right, diff.first_right, there & ~here),
    ):
        assert count == dense.sum()
        expected = [(b, h, q + q_start, k) for b, h, q, k in np.argwhere(dense)[:first].tolist()]
        assert list(cells) == expected
    assert bool(diff) == (not left.equals(right))
    assert len(str(diff).splitlines()) == 6
    assert diff == left.diff(b.mask, first=first), "a mask is bound to the same grid"


def test_a_million_tokens():
    n = 2**20
    left = (mw.causal() & (mw.sliding_window(4096) | mw.sinks(4))).bind(n)
    diff = left.diff(mw.causal() & mw.sliding_window(4097))
    assert diff.only_right == n - 4096 - 4  # the rows to which key q - 4096 is no sink
    assert diff.first_right[0] == (0, 0, 4100, 4)
    assert diff.both + diff.only_left + diff.only_right + diff.neither == n * n
    assert "<0.1%" in str(diff)
    assert ">99.9%" not in str(diff)


def test_another_grid_is_refused():
    with pytest.raises(mw.errors.GridError, match="one grid"):
        mw.causal().bind(4).diff(mw.causal().bind(5))
