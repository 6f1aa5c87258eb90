"""Positions: other libraries' counts, and heads in attention."""

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
