"""`real` and `real_queries`: marks of keys and of queries, and advice for arrays that are no marks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import GridError, MaskError


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([np.asarray, np.ndarray.tolist, torch.tensor]))
def test_marks_of_queries(seed: int, batched: bool, spell):
    marks = np.random.default_rng(seed).random((2, 9) if batched else (1, 9)) < 0.6
    mask = mw.real_queries(spell(marks if batched else marks[0]))
    dense = mask.bind(12, 7, q_start=-3, batch=len(marks)).dense()[:, 0]
    assert not dense[:, :3].any()  # before position 0 there is no mark
    assert np.array_equal(np.broadcast_to(dense[:, 3:], (len(marks), 9, 7)), np.repeat(marks[..., None], 7, axis=2))
    assert mw.parse(mask.to_text(arrays="full")) == mask
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_each_batch_row_may_start_elsewhere():
    mask = mw.real_queries([[1, 0, 1], [0, 1, 1]])
    assert mask.bind(2, 3, q_start=[1, 0]).dense()[:, 0, :, 0].tolist() == [[False, True], [False, True]]


def test_attention_of_queries_that_are_not_real_is_0():
    x = torch.randn(1, 1, 4, 8)
    out = mw.attention(x, x, x, mw.causal() & mw.real_queries([1, 0, 1, 1]))
    assert not out[0, 0, 1].any()
    assert out[0, 0, [0, 2, 3]].any(-1).all()


def test_reasons_and_cover():
    mask = mw.real_queries([1, 0, 1])
    assert mask.bind(3).explain(1, 0).reason == "query 1 is not marked real"
    assert mask.bind(3).explain(2, 0).reason == "query 2 is marked real"
    assert mask.bind(3, q_start=-1).explain(-1, 0).reason == "query -1 is before position 0 and sees no key"
    with pytest.raises(GridError, match="give each query its mark"):
        mask.bind(4)


@pytest.mark.parametrize("maker", [mw.real, mw.real_queries])
@pytest.mark.parametrize(
    ("array", "advice"),
    [
        ([[1, 1, 2, 2, 0]], r"document\(ids=array - 1\)"),
        ([[1, 2, 3, 0], [1, 1, 1, 2]], r"document\(ids=array - 1\)"),
        (torch.tensor([1, 1, 1, 4, 4, 4]), r"document\(ids=array - 1\)"),
        ([0, 0, 1, -1], r"document\(ids=array\)"),
        (np.array([255, 255, 0], dtype=np.uint8), "pass `array != 0`"),
        ([1.0, 0.0], "pass `array == 1`"),
        ([0.0, -1e9], "a comparison"),
    ],
)
def test_other_numbers_get_advice_that_is_right(maker, array, advice: str):
    with pytest.raises(MaskError, match=advice) as caught:
        maker(array)
    assert "array == 1" not in str(caught.value) or "float" in str(caught.value)


def test_the_advice_for_numbers_of_sequences_keeps_them_apart():
    numbers = np.array([[1, 1, 2, 2, 0]])
    same = (numbers[0][:, None] == numbers[0]) & (numbers[0] > 0)
    assert np.array_equal(mw.document(ids=numbers - 1).bind(5).dense()[0, 0], same)
