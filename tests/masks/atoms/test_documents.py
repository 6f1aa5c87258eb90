"""`document` and `within` beyond what random expressions reach: long lengths, packings inside packings."""

import numpy as np
import pytest

import maskwork as mw
from maskwork.errors import MaskError


def test_masks_per_document_inside_another_packing():
    inner = mw.within([mw.empty(), mw.full()], [4, 1])
    outer = mw.within(inner, [[2, 3], [5, 0]])
    alone = mw.within(inner, [2, 3])
    assert np.array_equal(outer.bind(5).dense()[0], alone.bind(5).dense()[0])
    assert mw.within([mw.document([2]), mw.causal()], [2, 5]).bind(7).allowed == 4 + 15


def test_lengths_that_would_wrap_round_are_refused():
    for lengths in ([2**62] * 4 + [4], [2**31], [2**30, 2**30]):
        with pytest.raises(MaskError):
            mw.document(np.array(lengths)).bind(4)
    with pytest.raises(MaskError, match="at most"):
        mw.padding(np.array([2**64 - 1], dtype=np.uint64))
    assert mw.document([2**30]).bind(4, q_start=0).allowed == 16, "no table longer than what is asked"


def test_within_of_several_masks_inside_documents_that_differ_by_batch_row():
    inner = mw.within([mw.full(), mw.empty()], [1, 3])
    mask = mw.within(inner, [[4, 1], [1, 4]])
    expected = np.zeros((2, 1, 5, 5), dtype=bool)
    for b, q in ((0, 0), (0, 4), (1, 0), (1, 1)):  # each document's first position alone sees itself
        expected[b, 0, q, q] = True
    assert np.array_equal(mask.bind(5).dense(), expected)
