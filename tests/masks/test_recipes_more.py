"""Recipes of streaming, images in local layers, gist tokens, times and BigBird's inference, by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import masking_utils
from transformers.models.big_bird import modeling_big_bird

import maskwork as mw
from maskwork.errors import MaskError


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 3), st.integers(1, 23))
def test_streaming_is_its_chunks(chunk: int, left: int, right: int, n: int):
    q, k = np.ogrid[:n, :n]
    expected = (k // chunk >= q // chunk - left) & (k // chunk <= q // chunk + right)
    assert np.array_equal(mw.recipes.streaming(chunk, left, right).bind(n).dense()[0, 0], expected)
    blocks = mw.block_causal([chunk] * n)
    past = blocks - blocks.shift(q=(left + 1) * chunk)
    assert np.array_equal(
        mw.recipes.streaming(chunk, left).bind(n).dense(), past.bind(n, chunk * n, q_start=0).dense()[..., :n]
    )
    everything = mw.recipes.streaming(chunk, None).bind(n)
    assert np.array_equal(everything.dense(), blocks.bind(n, chunk * n, q_start=0).dense()[..., :n])


@given(st.integers(1, 5), st.none() | st.integers(0, 4), st.none() | st.integers(0, 3), st.integers(-9, 9))
def test_chunks_before_position_0_are_counted_down(size: int, left: int | None, right: int | None, start: int):
    q, k = np.ogrid[start : start + 7, :12]
    chunks = k // size - q // size
    expected = (chunks >= -(99 if left is None else left)) & (chunks <= (99 if right is None else right))
    mask = mw.chunked(size, left=left, right=right)
    assert np.array_equal(mask.bind(7, 12, q_start=start).dense()[0, 0], expected)
    assert mw.parse(repr(mask)) == mask
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_chunks_of_any_size_stay_within_int64():
    assert mw.chunked(1 << 61, left=1 << 61, right=1 << 61).bind(5).allowed == 25
    assert mw.chunked(3, left=1 << 62).bind(7).equals(mw.chunked(3, left=None).bind(7))


@given(st.integers(1, 8), st.integers(0, 2**32))
def test_local_layers_with_images(window: int, seed: int):
    """A key is seen if it is no later or of the same image, and lies at most `window - 1` before the query."""
    ids = np.random.default_rng(seed).integers(-1, 2, (2, 12)) * 3
    mask = mw.recipes.multimodal(ids, window)
    b, q, k = np.ogrid[:2, :12, :12]
    same = (ids[b, q] == ids[b, k]) & (ids[b, q] >= 0)
    assert np.array_equal(mask.bind(12, batch=2).dense()[:, 0], ((k <= q) | same) & (q - k < window))


def test_hugging_face_windows_of_both_directions_are_bands():
    for window in (1, 3, 7):
        theirs = masking_utils.sliding_window_bidirectional_mask_function(window)
        q, k = (torch.arange(12)[:, None], torch.arange(12)[None])
        expected = (theirs(0, 0, q, k) & torch.ones(12, 12, dtype=torch.bool)).numpy()
        assert np.array_equal(mw.band(window, window).bind(12).dense()[0, 0], expected)


@given(st.integers(1, 5), st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_chunks_after_left_padding(size: int, starts: list[int]):
    theirs = masking_utils.chunked_causal_mask_function(size, torch.tensor(starts))
    b, q, k = (
        torch.arange(n).view(shape) for n, shape in ((len(starts), (-1, 1, 1)), (12, (1, -1, 1)), (12, (1, 1, -1)))
    )
    padded = torch.tensor(starts)[b]
    expected = (theirs(b, 0, q, k) & (k >= padded) & (q >= padded)).numpy()
    mask = mw.recipes.chunked_local(size, starts)
    assert np.array_equal(mask.bind(12, batch=len(starts)).dense()[:, 0], expected)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=3))
def test_gist_tokens_stand_for_the_prompt(rows: list[tuple[int, int]]):
    q, k = np.ogrid[:12, :12]
    expected = np.stack([(k <= q) & ~((q >= p + g) & (k < p)) for p, g in rows])
    mask = mw.recipes.gist(*zip(*rows, strict=True))
    assert np.array_equal(mask.bind(12, batch=len(rows)).dense()[:, 0], expected)


@given(st.integers(0, 2**32), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_windows_of_time(seed: int, before: int, after: int, batched: bool):
    times = np.random.default_rng(seed).integers(0, 4, (2, 12) if batched else (1, 12)).cumsum(axis=1)
    b, q, k = np.ogrid[: len(times), :12, :12]
    expected = (times[b, k] >= times[b, q] - before) & (times[b, k] <= times[b, q] + after)
    mask = mw.recipes.time_window(times if batched else times[0], before, after)
    assert np.array_equal(mask.bind(12, batch=len(times)).dense()[:, 0], expected)


def test_recipes_out_of_range():
    with pytest.raises(MaskError, match="never decrease"):
        mw.recipes.time_window([1, 0], 1)
    with pytest.raises(MaskError, match="as many prompts as gists"):
        mw.recipes.gist([1, 2], [1, 2, 3])
    with pytest.raises(MaskError, match="at least 1, got 0"):
        mw.recipes.multimodal([0, 1], 0)
    with pytest.raises(MaskError, match="got none"):
        mw.recipes.chunked_local(4, [])


def counted(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, size: int, random: int) -> torch.Tensor:
    """Attend block by block as transformers' BigBird does at inference: a block that is listed twice counts twice."""
    n = q.shape[2]
    last = n // size - 1
    out = torch.empty_like(q)
    for block in range(last + 1):
        if block in (0, last):
            listed = list(range(last + 1))
        else:
            # The first, the three neighbours and the last, each once; then the random ones, all block 0.
            listed = [*sorted({0, block - 1, block, block + 1, last}), *[0] * random]
        keys = torch.tensor([i * size + j for i in listed for j in range(size)])
        rows = slice(block * size, (block + 1) * size)
        scores = q[:, :, rows] @ k[:, :, keys].mT / math.sqrt(q.shape[-1])
        out[:, :, rows] = scores.softmax(-1) @ v[:, :, keys]
    return out


def bias_of(n: int, size: int, random: int) -> torch.Tensor:
    """Return the bias that the recipe's docstring gives."""
    bias = torch.zeros(1, 1, n, n, dtype=torch.float64)
    bias[..., size : n - size, :size] = math.log(1 + random)
    return bias


@pytest.mark.parametrize(("size", "blocks", "random"), [(2, 6, 3), (3, 8, 2), (4, 7, 1), (2, 5, 0)])
def test_bigbird_at_inference_counts_block_0(size: int, blocks: int, random: int):
    n = size * blocks
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, n, 8, dtype=torch.float64, generator=g) for _ in range(3))
    mask = mw.recipes.bigbird(size, blocks, random=0)
    ours = mw.attention(q, k, v, mask, bias=bias_of(n, size, random), impl="reference")
    torch.testing.assert_close(ours, counted(q, k, v, size, random), rtol=0, atol=1e-12)


def test_bigbird_at_inference_is_what_transformers_computes():
    size, blocks, random, heads, width = 2, 8, 3, 2, 4
    n = size * blocks
    config = modeling_big_bird.BigBirdConfig(
        hidden_size=heads * width, num_attention_heads=heads, block_size=size, num_random_blocks=random,
        attention_type="block_sparse", max_position_embeddings=n, use_bias=True,
    )  # fmt: skip
    torch.manual_seed(0)
    layer = modeling_big_bird.BigBirdBlockSparseAttention(config, seed=0).eval().double()
    x = torch.randn(1, n, heads * width, dtype=torch.float64)
    masks = modeling_big_bird.BigBirdModel.create_masks_for_block_sparse_attn(
        torch.ones(1, n, dtype=torch.float64), size
    )
    blocked, band, rows, columns = masks
    with torch.no_grad():
        theirs = layer(
            x, band_mask=band, from_mask=rows, to_mask=columns, from_blocked_mask=blocked, to_blocked_mask=blocked
        )
        q, k, v = (f(x).view(1, n, heads, width).transpose(1, 2) for f in (layer.query, layer.key, layer.value))
        ours = mw.attention(q, k, v, mw.recipes.bigbird(size, blocks, random=0), bias=bias_of(n, size, random))
    torch.testing.assert_close(ours.transpose(1, 2).reshape(1, n, -1), theirs[0], rtol=0, atol=1e-10)
