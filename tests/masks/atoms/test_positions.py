"""Positions: other libraries' counts, and heads in attention."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import MaskError


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


SHAPES = st.sampled_from([(), (1,), (3,), (2, 1), (2, 3), (1, 3), (1, 1)])


@given(SHAPES, SHAPES, st.integers(0, 2**32), st.integers(-4, 4))
def test_a_width_for_each_batch_row_and_head(left_shape, right_shape, seed: int, start: int):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 6, left_shape), rng.integers(0, 6, right_shape)
    q, k = np.ogrid[start : start + 8, :9]
    planes = [np.broadcast_to(side, (2, 3))[..., None, None] for side in (left, right)]

    def same(mask: mw.Mask, expected: np.ndarray) -> bool:
        assert mw.parse(mask.to_text(arrays="full")) == mask
        assert mw.Mask.from_json(mask.to_json()) == mask
        return np.array_equal(np.broadcast_to(mask.bind(8, 9, q_start=start).dense(), (2, 3, 8, 9)), expected)

    assert same(mw.band(left, right), (q - planes[0] <= k) & (k <= q + planes[1]))
    assert same(mw.band(left, None), q - planes[0] <= k)
    assert same(mw.band(None, right), k <= q + planes[1])
    assert same(mw.sliding_window(left + 1), (q - planes[0] <= k) & (k <= q))


def test_widths_speak_of_rows_and_heads():
    assert (mw.sliding_window([[2], [5]]).batch, mw.sliding_window([[2], [5]]).heads) == (2, 1)
    assert (mw.band([1, 2, 3], [[1], [2]]).batch, mw.band([1, 2, 3], [[1], [2]]).heads) == (2, 3)
    assert mw.sliding_window([[2, 3]]) == mw.sliding_window([2, 3])
    assert mw.band([[4]], np.int64(1)) == mw.band(4, 1)
    assert mw.sliding_window([[2], [5]]).relative
    assert mw.sliding_window([[2], [5]]).bind(6).explain(5, 2, b=0).reason.endswith("window sees 2")
    assert mw.sliding_window([[2], [5]]).bind(6).explain(5, 2, b=1).reason.endswith("window sees 5")
    assert "sees 3 behind and 2 ahead" in mw.band([1, 2, 3], [[1], [2]]).bind(6).explain(5, 0, b=1, h=2).reason
    with pytest.raises(MaskError):
        mw.band([1, 2], [1, 2, 3])
    with pytest.raises(MaskError, match="one for each batch row and head"):
        mw.sliding_window(np.ones((1, 2, 3), dtype=int))


@pytest.mark.parametrize("size", [0, None, -1, np.int64(0), torch.tensor(0)])
def test_a_window_that_a_configuration_turns_off_is_left_out(size):
    with pytest.raises(MaskError, match=r"at least 1, got .*leave it out"):
        mw.sliding_window(size)


@pytest.mark.parametrize("sides", [(-1, 0), (3, -1), (-1, -1), ([2, -1], 0)])
def test_unbounded_is_none(sides):
    with pytest.raises(MaskError, match="at least 0, got -1; unbounded, flash-attention's -1, is None"):
        mw.band(*sides)
    with pytest.raises(MaskError, match=r"got -3; move a band with \.shift"):
        mw.band(-3, 5)
