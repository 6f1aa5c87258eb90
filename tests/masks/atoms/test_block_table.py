"""`blocks`: a table spread over its blocks, per head and batch row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import GridError, MaskError


@given(st.data())
def test_a_table_is_itself_with_every_cell_repeated(data):
    lead = data.draw(st.sampled_from([(), (1,), (3,), (2, 1), (2, 3), (1, 3)]))
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    sides = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    table = rng.random((*lead, rows, columns)) < data.draw(st.sampled_from([0.2, 0.5, 0.9]))
    mask = mw.blocks(table, sides if sides[0] != sides[1] or data.draw(st.booleans()) else sides[0])
    q_len = data.draw(st.integers(1, rows * sides[0]))
    kv_len = data.draw(st.integers(1, columns * sides[1]))
    before = data.draw(st.integers(0, 3))
    expected = np.repeat(np.repeat(table, sides[0], axis=-2), sides[1], axis=-1)[..., :q_len, :kv_len]
    expected = expected.reshape((1,) * (4 - expected.ndim) + expected.shape)
    bound = mask.bind(q_len + before, kv_len, q_start=-before)
    assert np.array_equal(bound.dense()[:, :, before:], expected)
    assert not bound.dense()[:, :, :before].any()
    assert mw.parse(mask.to_text(arrays="full")) == mask
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_equal_tables_are_equal_masks():
    table = np.array([[1, 0], [1, 1]])
    assert mw.blocks(table, 4) == mw.blocks(table[None].astype(bool), (4, 4)) == mw.blocks(table[None, None], 4)
    assert mw.blocks(table, 4) != mw.blocks(table, (4, 2))


def test_each_batch_row_may_start_elsewhere():
    table = np.tril(np.ones((3, 3), dtype=bool))
    dense = mw.blocks(table, 2).bind(2, 6, q_start=[0, 3]).dense()[:, 0]
    full = np.repeat(np.repeat(table, 2, axis=0), 2, axis=1)
    assert np.array_equal(dense, np.stack([full[0:2], full[3:5]]))


def test_runs_are_as_many_as_those_of_the_table():
    """The geometry of 65,536 tokens holds a slot for each run of blocks, not for each block or token."""
    table = np.zeros((4, 512, 512), dtype=bool)
    table[:, :, :8] = True
    table[:, np.arange(512), np.arange(512)] = True
    spans = mw.blocks(table, 128).bind(65536).spans
    assert spans.shape == (1, 4, 65536)
    assert spans.runs == 2


def test_the_reason_names_both_blocks():
    assert mw.blocks([[1, 0], [1, 1]], 4).bind(8).explain(1, 6).reason == (
        "query 1 is in block 0, key 6 in block 1; the table leaves out that pair"
    )


def test_tables_and_sizes_out_of_range():
    with pytest.raises(GridError, match=r"covers 4 and 4; add rows"):
        mw.blocks(np.ones((2, 2), dtype=bool), 2).bind(5)
    with pytest.raises(MaskError, match="at least 1"):
        mw.blocks([[1]], 0)
    with pytest.raises(MaskError, match="a pair for queries and keys"):
        mw.blocks([[1]], (1, 2, 3))
    with pytest.raises(MaskError, match="2-D or 3-D or 4-D"):
        mw.blocks([1, 0], 2)
    with pytest.raises(MaskError, match="0 and 1"):
        mw.blocks([[0, 2]], 2)
