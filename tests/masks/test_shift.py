"""Shifts add up where that is exact; a mask of `q - k` alone is its own shift back, and no other mask is."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, HEADS, LENGTH, Case, cases
from maskwork.errors import GridError, MaskError

N = 12

_atoms = st.one_of(
    st.sampled_from([mw.causal(), mw.full(), mw.empty()]),
    st.integers(1, N).map(mw.sliding_window),
    st.lists(st.integers(1, N), min_size=HEADS, max_size=HEADS).map(mw.sliding_window),
    st.builds(mw.band, st.none() | st.integers(0, N), st.none() | st.integers(0, N)),
    st.builds(mw.dilated, st.integers(0, 4), st.integers(1, 4)),
)


def _joined(inner: st.SearchStrategy[mw.Mask]) -> st.SearchStrategy[mw.Mask]:
    back = st.integers(-3, 0)
    return st.one_of(
        st.builds(operator.and_, inner, inner),
        st.builds(operator.or_, inner, inner),
        st.builds(operator.xor, inner, inner),
        st.builds(operator.sub, inner, inner),
        st.builds(operator.invert, inner),
        st.builds(mw.Mask.shift, inner, back, back),
        st.lists(inner, min_size=BATCH, max_size=BATCH).map(mw.per_row),
    )


relatives = st.recursive(_atoms, _joined, max_leaves=6)


@given(relatives, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_moving_both_back_alike_changes_nothing(mask: mw.Mask, back: int, q: int, k: int):
    assert mask.relative
    far = mask.bind(N + back).dense()
    assert np.array_equal(far[..., back:, back:], mask.bind(N).dense())
    assert mask.shift(q=-back, k=-back) == mask
    # And on top of any other shift back, which stays.
    assert mask.shift(q=-q - back, k=-k - back) == mask.shift(q=-q, k=-k)
    shifted = mask.shift(q=-q, k=-k)
    wide = mask.bind(N + q, N + k, q_start=0).dense()
    assert np.array_equal(shifted.bind(N, q_start=0).dense(), wide[..., q:, k:])


@given(relatives, st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=4))
def test_any_shifts_of_it_are_what_they_say(mask: mw.Mask, steps: list[tuple[int, int]]):
    dense = mask.bind(N + 16).dense()
    for dq, dk in steps:
        mask = mask.shift(q=dq, k=dk)
        moved = np.zeros_like(dense)
        q, k = (np.arange(dense.shape[-1]) - step for step in (dq, dk))
        inside = (q >= 0)[:, None] & (k >= 0)
        moved[..., inside] = dense[..., np.clip(q, 0, N + 15)[:, None], np.clip(k, 0, N + 15)][..., inside]
        dense = moved
    assert np.array_equal(mask.bind(N).dense(), dense[..., :N, :N])  # what came from beyond the grid is cut off


@given(cases)
def test_no_other_mask_claims_it(case: Case):
    if case.mask.relative:
        dense = case.mask.bind(LENGTH).dense()
        assert np.array_equal(dense[..., 1:, 1:], dense[..., :-1, :-1])


@pytest.mark.parametrize(
    "mask",
    [mw.prefix(3), mw.sinks(1), mw.chunked(4), mw.causal() | mw.prefix(3), mw.causal().shift(q=1), mw.document([4, 9])],
)
def test_what_depends_on_the_place_moves(mask: mw.Mask):
    assert not mask.relative
    moved = mask.shift(q=-1, k=-1)
    assert moved != mask
    assert np.array_equal(moved.bind(N).dense(), mask.bind(N + 1).dense()[..., 1:, 1:])


def test_a_shift_back_then_forth_is_one_shift_where_that_is_exact():
    assert mw.causal().shift(q=-2, k=-3).shift(q=3) == mw.causal().shift(k=-1).shift(q=3)


def test_shifts_back_read_the_array_further_on():
    ids = [0, 0, 1, 1, 1, 0]
    moved = mw.document(ids=ids).shift(q=-2, k=-2)
    assert np.array_equal(moved.bind(4).dense(), mw.document(ids=ids).bind(6).dense()[..., 2:, 2:])


def test_a_shift_back_then_forth_loses_what_was_cut_off():
    there_and_back = mw.full().shift(q=1, k=1).shift(q=-1, k=-1)
    assert there_and_back == mw.full()
    back_and_there = mw.causal().shift(q=-1).shift(q=1)
    assert back_and_there != mw.causal()
    assert back_and_there.bind(3).dense()[0, 0].tolist() == [[False] * 3, [True, True, False], [True] * 3]
    assert mw.parse(repr(back_and_there)) == back_and_there


def test_a_shift_of_each_batch_row():
    mask = mw.causal() & mw.sliding_window(2)
    shifted = mask.shift(q=[0, -2, 1], k=np.array([1, 0, 0]))
    assert shifted == mw.per_row([mask.shift(k=1), mask.shift(q=-2), mask.shift(q=1)])
    assert mw.parse(repr(shifted)) == mw.Mask.from_json(shifted.to_json()) == shifted
    assert mask.shift(q=[2, 2], k=[1, 1]) == mask.shift(q=2, k=1), "the same for all is one shift"
    # A batch of its own: each row is shifted by its own.
    lengths = mw.padding([1, 3, 2])
    cells = lengths.bind(4).dense()[:, 0, 0]
    moved = lengths.shift(k=[0, 1, 2]).bind(4).dense()[:, 0, 0]
    assert [row.tolist() for row in moved] == [np.roll(row, b).tolist() for b, row in enumerate(cells)]
    # Queries of sequences that start apart are the same mask with a start for each.
    starts = [0, 2, 5]
    rows = mask.shift(q=[-start for start in starts]).bind(2, 8, q_start=0)
    assert np.array_equal(rows.dense(), mask.bind(2, 8, q_start=starts).dense())
    with pytest.raises(GridError, match="one for each batch row, got 3 for q and 2 for k"):
        mask.shift(q=[1, 2, 3], k=[1, 2])
    with pytest.raises(MaskError, match=r"shift\(q\) must hold integers"):
        mask.shift(q=[0.5, 1])


def test_a_shift_reads_rows_before_position_0_by_their_formula():
    band = mw.band(2, 2)
    # back, nothing is left out: queries -4 and -3 stand for -3 and -2
    assert band.shift(q=-1).bind(2, 3, q_start=-4).dense().astype(int)[0, 0].tolist() == [[0, 0, 0], [1, 0, 0]]
    # forth, what comes from before position 0 is left out
    assert not band.shift(q=1).bind(3, 3, q_start=-2).allowed
    assert mw.sinks(1).shift(k=1).bind(3, 3, q_start=-2).dense().astype(int)[0, 0].tolist() == [[0, 1, 0]] * 3
