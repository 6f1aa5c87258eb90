"""Array parameters: lists, arrays and tensors are one mask, copied and checked."""

import numpy as np
import pytest
import torch

import maskwork as mw


def test_parameters_are_copied_and_arrays_read_only():
    lengths = np.array([2, 2])
    mask = mw.document(lengths)
    lengths[0] = 3
    assert mask == mw.document([2, 2])
    spans = mask.bind(4).spans
    with pytest.raises(ValueError, match="read-only"):
        spans.starts[0, 0, 0, 0] = 9


def test_tensors_and_lists_make_the_same_mask():
    for value in ([2, 2], (2, 2), np.array([2, 2], dtype=np.uint8), torch.tensor([2, 2], dtype=torch.int32)):
        assert mw.document(value) == mw.document([2, 2])
    assert mw.document([[1, 2], [3]]) == mw.document([[1, 2], [3, 0]])


def test_one_row_for_a_batch_of_one_is_the_mask_without_a_batch():
    pairs = [
        (mw.prefix([5]), mw.prefix(5)),
        (mw.padding(starts=[2]), mw.padding(starts=2)),
        (mw.document([[4, 5]]), mw.document([4, 5])),
        (mw.document(ids=[[0] * 9]), mw.document(ids=[0] * 9)),
        (mw.real(torch.ones(1, 9, dtype=torch.int64)), mw.real([1] * 9)),
        (mw.match([[0] * 9], [0] * 9), mw.match([0] * 9, [[0] * 9])),
        (mw.tree([[-1] * 9]), mw.tree([-1] * 9)),
        (mw.global_tokens([[3, -1]]), mw.global_tokens([3])),
        (mw.within(mw.causal(), [[9]]), mw.within(mw.causal(), [9])),
    ]
    for one, none in pairs:
        assert one == none
        assert hash(one) == hash(none)
        why = one.bind(9, batch=3).explain(4, 2, b=2)
        assert (why.allowed, why.reason) == (one.bind(9).dense()[0, 0, 4, 2], none.bind(9).explain(4, 2).reason)


def test_spellings_of_one_mask():
    assert mw.sliding_window([3]) == mw.sliding_window(3) == mw.sliding_window(torch.tensor(3))
    assert mw.per_head([mw.causal()]) == mw.per_row([mw.causal()]) == mw.causal()
    assert mw.real(torch.tensor([1, 0])) == mw.real(np.array([1, 0])) == mw.real([True, False])
