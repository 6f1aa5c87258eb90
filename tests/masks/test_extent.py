"""Array parameters cover the grid, and of a full sequence no more."""

import numpy as np
import pytest

import maskwork as mw
from maskwork.errors import GridError


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.causal().bind(3, 5), "q_start=2"),
        (lambda: mw.document([2, 2]).bind(5), "grid's 5 positions"),
        (lambda: mw.document([2, 2]).bind(3), "exactly"),
        (lambda: mw.document(ids=[0, 0, 1]).bind(4), "reach 3"),
        (lambda: mw.within(mw.document([1]), [2, 2]).bind(4), "reach 1"),
        (lambda: mw.document([[2, 2], [3, 0]]).bind(4), "reach 3"),
        (lambda: mw.padding([1, 2]).bind(3, batch=3), "2 rows, got 3"),
        (lambda: mw.sliding_window([1, 2]).bind(3, heads=3), "2 heads, got 3"),
        (lambda: mw.sliding_window([1, 2]).bind(3).equals(mw.sliding_window([1, 2, 3])), "same batch and heads"),
        (lambda: mw.match([0, 1], [0, 1, 2]).bind(3), "q_ids number"),
        (lambda: mw.match([0, 1], [0, 1, 2]).bind(2, 4, q_start=0), "k_ids number"),
        (lambda: mw.real([1, 1]).bind(1, 3), "marks number"),
        (lambda: mw.real([1, 1]).shift(k=-1).bind(2, 2), "reach 2"),
        (lambda: mw.causal().shift(q=-(2**31) + 1).bind(4), "shift it by less"),
        (lambda: mw.block_causal([1, 2]).bind(2), "exactly"),
        (lambda: mw.causal().bind(4, q_start=2).rows(1, 3), "rows must lie"),
        (lambda: mw.causal().bind(4).equals(mw.causal().bind(5)), "one grid"),
    ],
)
def test_bad_grids(make, words: str):
    with pytest.raises(GridError, match=words):
        make()


def test_a_part_of_a_longer_sequence_is_fine_when_q_start_says_so():
    mask = mw.within(mw.causal(), [3, 4])
    assert np.array_equal(mask.bind(2, 5, q_start=3).dense(), mask.bind(7).dense()[..., 3:5, :5])


def test_masks_blind_to_the_query_need_no_q_start():
    assert mw.padding([2]).bind(1, 4).allowed == 2
    assert mw.sinks(3).bind(2, 4).allowed == 6


def test_both_usual_starts_are_named_also_where_the_second_is_negative():
    with pytest.raises(GridError, match=r"q_start=0 if the queries are the first positions, or q_start=-2 "):
        mw.causal().bind(4, 2)
