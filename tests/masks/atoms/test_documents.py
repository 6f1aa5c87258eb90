"""`document` and `within` beyond what random expressions reach: long lengths, packings inside packings."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=5), min_size=1, max_size=3))
def test_positions_that_count_up_are_documents(rows):
    width = max(map(sum, rows))
    positions = np.full((len(rows), width), -1)
    ids = positions.copy()
    for b, lengths in enumerate(rows):
        positions[b, : sum(lengths)] = np.concatenate([np.arange(n) for n in lengths])
        ids[b, : sum(lengths)] = np.repeat(np.arange(len(lengths)), lengths)
    mask = mw.document(position_ids=positions)
    expected = (ids[:, :, None] == ids[:, None]) & (ids[:, :, None] >= 0)
    assert np.array_equal(mask.bind(width, batch=len(rows)).dense()[:, 0], expected)
    assert mw.parse(mask.to_text(arrays="full")) == mask
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_a_document_starts_where_positions_do_not_go_on():
    assert mw.document(position_ids=torch.tensor([[0, 1, 2, 0, 1]])) == mw.document([3, 2])
    assert mw.document(position_ids=[5, 6, 7, 0, 1, 5]) == mw.document([3, 2, 1])  # of a chunk: the first goes on
    assert mw.document(position_ids=[-1, 0, 1, 0]).bind(4).equals(mw.document(ids=[-1, 5, 5, 6]).bind(4))
    with pytest.raises(MaskError, match="got both"):
        mw.document([3], position_ids=[0, 1, 2])


@pytest.mark.parametrize(
    "ids",
    [
        [0, 1, 2, 0, 1],
        [0, 1, 2, 3, 0, 1, 2, 3],
        [[0, 1, 2, 3, 4], [0, 1, 0, 1, 2]],
        torch.arange(9) % 4,
        [0, 1, 2, 0, 1, 0, 0, 0],
        [0, 1, 2, 3, 0, 1, -1, -1],
    ],
)
def test_position_ids_are_no_ids(ids):
    with pytest.raises(MaskError, match=r"position ids do; pass document\(position_ids=…\), or ids \+ 1"):
        mw.document(ids=ids)
    shifted = torch.as_tensor(ids) + 1
    assert mw.document(ids=shifted).bind(shifted.shape[-1]).allowed


@pytest.mark.parametrize(
    "ids",
    [
        [0, 0, 1, 1, 2], [0, 1, 2, 3], [0, 1, 0, 1], [0, 1, 0], [0, 0, 1, 2], [0, 0, 0], [0, 1, 2, 0],
        [0, 1, 2, 2, 0, 1], [1, 2, 3, 1, 2], [0, 2, 1, 0, 2, 1], [-1, 0, 0, 1, 1, -1],
        [[0, 1, 2, 0, 1], [0, 0, 1, 1, 1]],
    ],
)  # fmt: skip
def test_honest_ids_are_ids(ids):
    array = np.atleast_2d(ids)
    expected = (array[:, :, None] == array[:, None]) & (array[:, :, None] >= 0)
    assert np.array_equal(mw.document(ids=ids).bind(array.shape[1]).dense()[:, 0], expected)
