"""A mask on a grid checks the budget of runs before memory is taken."""

import numpy as np
import pytest

import maskwork as mw
from maskwork.errors import TooManySpans


def test_too_many_spans_is_said_before_memory_is_taken():
    ids = np.arange(40_000) % 2
    with pytest.raises(TooManySpans, match="20000 runs a row"):
        mw.document(ids=ids).bind(40_000).empty_rows()


def test_too_many_spans_is_what_all_pieces_of_a_long_question_hold():
    with pytest.raises(TooManySpans, match="1001 runs a row x 1048576 rows"):
        mw.dilated(500, 2).bind(2**20).empty_rows()
    for q_len in (2**29, 2**31 - 1):
        with pytest.raises(TooManySpans, match="1 runs a row"):
            mw.causal().bind(q_len).empty_rows()
    with pytest.raises(TooManySpans):
        mw.causal().bind(1, 2**31 - 1, q_start=2**31 - 2).reach(2)
    assert mw.sinks(3).bind(2**31 - 1).spans.row(2**31 - 2) == [(0, 3)], "one row stands for all"


def test_the_mend_of_too_many_spans_works():
    ids = np.arange(40_000) % 2
    part = mw.document(ids=ids).bind(40_000).rows(7, 9)
    assert part.allowed == 40_000
    assert part.last_seen()[0, 0, :3].tolist() == [8, 7, 8]
