"""What random expressions do not reach: other libraries' counts, heads in attention, shifts back."""

import numpy as np
import torch

import maskwork as mw


def test_others_counts():
    n = 9
    assert mw.band(3, 0).bind(n).equals(mw.sliding_window(4))
    assert mw.band(None, 0).bind(n).equals(mw.causal())
    assert mw.band(None, None) == mw.full()
    assert mw.from_cu_seqlens(torch.tensor([0, 4, 9], dtype=torch.int32)) == mw.document([4, 5])
    assert mw.from_key_padding_mask([0, 1]) == mw.real([True, False])
    assert mw.match([0, 1, -1], [0, 1, -1]).bind(3).equals(mw.document(ids=[0, 1, -1]))
    assert mw.block_causal([3] * 3).bind(n).equals(mw.causal() | mw.chunked(3))


def test_spellings_of_one_mask():
    assert mw.sliding_window([3]) == mw.sliding_window(3) == mw.sliding_window(torch.tensor(3))
    assert mw.per_head([mw.causal()]) == mw.per_row([mw.causal()]) == mw.causal()
    assert mw.real(torch.tensor([1, 0])) == mw.real(np.array([1, 0])) == mw.real([True, False])


def test_heads_are_inferred_and_speak_of_query_heads():
    mask = mw.causal() & mw.sliding_window([1, 2, 3, 4])
    assert mask.heads == 4
    assert mask.bind(5).shape == (1, 4, 5, 5)
    q, k = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8)
    out = mw.attention(q, k, k, mask)
    for h in range(4):
        alone = mw.attention(
            q[:, h : h + 1], k[:, h // 2 : h // 2 + 1], k[:, h // 2 : h // 2 + 1], mw.sliding_window(h + 1)
        )
        torch.testing.assert_close(out[:, h : h + 1], alone)


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


def test_within_of_several_masks_inside_documents_that_differ_by_batch_row():
    inner = mw.within([mw.full(), mw.empty()], [1, 3])
    mask = mw.within(inner, [[4, 1], [1, 4]])
    expected = np.zeros((2, 1, 5, 5), dtype=bool)
    for b, q in ((0, 0), (0, 4), (1, 0), (1, 1)):  # each document's first position alone sees itself
        expected[b, 0, q, q] = True
    assert np.array_equal(mask.bind(5).dense(), expected)
