"""Our masks against other libraries' definitions of the same kinds, converted where their counts differ."""

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

import maskwork as mw

N = 24


def same(mask: mw.Mask, mask_mod, q_len: int = N, kv_len: int = N, q_start: int = 0, batch: int = 1):
    """`create_mask` evaluates the function on every cell, with positions relative to the first query."""

    def absolute(b, h, q, k):
        return mask_mod(b, h, q + q_start, k)

    theirs = create_mask(absolute, batch, 1, q_len, kv_len, device="cpu").numpy()
    ours = mask.bind(q_len, kv_len, q_start=q_start).dense()
    assert np.array_equal(np.broadcast_to(ours, theirs.shape), theirs)


def causal(b, h, q, k):
    return q >= k


DOCUMENTS = torch.repeat_interleave(torch.arange(4), torch.tensor([5, 9, 3, 7]))
ISLANDS = torch.tensor([[-1] * 3 + [0] * 6 + [-1] * 4 + [1] * 8 + [-1] * 3, [0] * 12 + [1] * 12])

# FlexAttention's examples (its documentation and attn_gym), in the words of their kinds.
FLEX = {
    "causal": (mw.recipes.gpt(), causal),
    # attn_gym's window excludes nothing at distance W: it sees W + 1 keys.
    "sliding_window": (mw.recipes.mistral(5 + 1), lambda b, h, q, k: (q >= k) & (q - k <= 5)),
    "prefix_lm": (mw.recipes.prefix_lm(7), lambda b, h, q, k: (k < 7) | (q >= k)),
    "documents": (mw.recipes.packed([5, 9, 3, 7]), lambda b, h, q, k: (DOCUMENTS[q] == DOCUMENTS[k]) & (q >= k)),
    "dilated": (mw.dilated(7 // 3, 3), lambda b, h, q, k: ((q - k).abs() <= 7) & ((q - k).abs() % 3 == 0)),
    "sinks": (
        mw.recipes.streaming_llm(5 + 1, 2),
        lambda b, h, q, k: (q >= k) & ((q - k <= 5) | (k < 2)),
    ),
    "islands": (
        mw.recipes.multimodal(ISLANDS),
        lambda b, h, q, k: (q >= k) | ((ISLANDS[b, q] == ISLANDS[b, k]) & (ISLANDS[b, q] >= 0)),
    ),
    "next_scale": (mw.recipes.next_scale([5, 9, 3, 7]), lambda b, h, q, k: DOCUMENTS[q] >= DOCUMENTS[k]),
    "shared_prefix": (
        mw.recipes.shared_prefix(5, [9, 3, 7]),
        lambda b, h, q, k: (q >= k) & ((DOCUMENTS[q] == DOCUMENTS[k]) | (DOCUMENTS[k] == 0)),
    ),
}


@pytest.mark.parametrize("name", FLEX)
@pytest.mark.parametrize(("q_start", "q_len", "kv_len"), [(0, N, N), (17, 7, N), (3, 4, 9)])
def test_flex_attention(name: str, q_start: int, q_len: int, kv_len: int):
    mask, mask_mod = FLEX[name]
    same(mask, mask_mod, q_len, kv_len, q_start, batch=mask.batch)


@pytest.mark.parametrize("name", FLEX)
def test_a_mask_mod_is_a_mask(name: str):
    """`custom` takes the very function, and means what `create_mask` means by it."""
    mask, mask_mod = FLEX[name]
    letters = "bqk" if mask.batch > 1 else "qk"
    assert mw.custom(mask_mod, depends_on=letters, batch=mask.batch).bind(N).equals(mask)


@pytest.mark.parametrize(("side", "window"), [(4, 3), (5, 3), (6, 5), (5, 5)])
def test_natten_on_a_square(side: int, window: int):
    half = window // 2

    def natten(b, h, q, k):
        inside = [
            (i.clamp(half, side - 1 - half) - j).abs() <= half
            for i, j in ((q // side, k // side), (q % side, k % side))
        ]
        return inside[0] & inside[1]

    same(mw.neighborhood((side, side), window), natten, side * side, side * side)


@pytest.mark.parametrize(("height", "width", "window"), [(4, 6, 3), (6, 9, 5)])
def test_tiled_natten(height: int, width: int, window: int):
    th, tw, half = 2, 3, window // 2

    def cell(i):
        tile, inside = i // (th * tw), i % (th * tw)
        return tile // (width // tw) * th + inside // tw, tile % (width // tw) * tw + inside % tw

    def tiled(b, h, q, k):
        (y, x), (v, u) = cell(q), cell(k)
        down = (y.clamp(half, height - 1 - half) - v).abs() <= half
        return down & ((x.clamp(half, width - 1 - half) - u).abs() <= half)

    same(mw.neighborhood((height, width), window, tile=(th, tw)), tiled, height * width, height * width)


@pytest.mark.parametrize(
    ("shape", "kernel", "tile"),
    [
        ((4, 6), (2, 2), (2, 1)),
        ((8, 8), (4, 6), (2, 2)),
        ((4, 4, 6), (2, 4, 6), (2, 2, 2)),
        ((6, 4, 4), (6, 2, 2), (2, 2, 1)),
    ],
)
def test_sliding_tiles(shape: tuple[int, ...], kernel: tuple[int, ...], tile: tuple[int, ...]):
    """Tiles by their own coordinates: left half rounded up, right half rounded down, moved inwards at an edge."""
    tiles = [n // t for n, t in zip(shape, tile, strict=True)]
    windows = [n // t for n, t in zip(kernel, tile, strict=True)]
    tokens = int(np.prod(tile))

    def sta(b, h, q, k):
        q, k = q // tokens, k // tokens
        sees = q >= 0
        for n, w in zip(reversed(tiles), reversed(windows), strict=True):
            left, right = w // 2, w // 2 + w % 2 - 1
            centre = (q % n).clamp(left, n - 1 - right)
            sees = sees & (k % n >= centre - left) & (k % n <= centre + right)
            q, k = q // n, k // n
        return sees

    n = int(np.prod(shape))
    same(mw.recipes.sliding_tile(shape, kernel, tile), sta, n, n)
    # With text after the video: text sees and is seen by everything.
    text = 5
    with_text = mw.within([mw.recipes.sliding_tile(shape, kernel, tile), mw.full()], [n, text])
    with_text |= mw.global_tokens(range(n, n + text))
    same(with_text, lambda b, h, q, k: (q >= n) | (k >= n) | sta(b, h, q, k), n + text, n + text)


def test_bigbird_is_its_blocks():
    size, blocks = 3, 8
    bound = mw.recipes.bigbird(size, blocks, random=2, seed=5).bind(size * blocks)
    drawn = mw.random_blocks(2, size, blocks, 5).bind(size * blocks).dense()[0, 0]
    q, k = np.ogrid[: size * blocks, : size * blocks]
    i, j = q // size, k // size
    edge = (i == 0) | (j == 0) | (i == blocks - 1) | (j == blocks - 1)
    assert np.array_equal(bound.dense()[0, 0], (abs(i - j) <= 1) | edge | drawn)


def test_longformer_counts_half_on_either_side():
    q, k = np.ogrid[:N, :N]
    expected = (abs(q - k) <= 3) | np.isin(q, [0, 9]) | np.isin(k, [0, 9])
    assert np.array_equal(mw.recipes.longformer(6, [0, 9]).bind(N).dense()[0, 0], expected)
    with pytest.raises(mw.errors.MaskError, match="pass 8"):
        mw.recipes.longformer(7, [0])


def test_sliding_tile_takes_whole_tiles():
    with pytest.raises(mw.errors.MaskError, match="the tile dividing"):
        mw.recipes.sliding_tile((4, 6), (3, 2), (2, 2))


HUGGING_FACE = {
    "causal": lambda hf: (mw.causal(), hf.causal_mask_function),
    "bidirectional": lambda hf: (mw.full(), hf.bidirectional_mask_function),
    "sliding_window": lambda hf: (mw.recipes.mistral(5), hf.sliding_window_causal_mask_function(5)),
    # the bidirectional window is inclusive: 5 keys on either side of the query's own
    "two_sided": lambda hf: (mw.dilated(5, 1), hf.sliding_window_bidirectional_mask_function(5)),
    "packed": lambda hf: (
        mw.recipes.packed([5, 9, 3, 7]),
        hf.and_masks(hf.packed_sequence_mask_function(DOCUMENTS[None]), hf.causal_mask_function),
    ),
    "blockwise": lambda hf: (
        mw.recipes.multimodal(ISLANDS),
        hf.or_masks(hf.causal_mask_function, hf.blockwise_overlay(ISLANDS)),
    ),
    "right_padding": lambda hf: (
        mw.causal() & mw.padding([20, 13]),
        hf.and_masks(
            hf.causal_mask_function, hf.padding_mask_function(torch.arange(N) < torch.tensor([[20], [13]]))
        ),
    ),
    "left_padding": lambda hf: (
        mw.causal() & mw.padding(starts=[4, 11]),
        hf.and_masks(
            hf.causal_mask_function, hf.padding_mask_function(torch.arange(N) >= torch.tensor([[4], [11]]))
        ),
    ),
    "restarted": lambda hf: (
        mw.within(mw.recipes.streaming_llm(3, 1), [5, 9, 3, 7]),
        hf.packed_sequence_compatibility_function(
            hf.or_masks(
                hf.sliding_window_causal_mask_function(3),
                hf.and_masks(hf.causal_mask_function, lambda b, h, q, k: k < 1),
            ),
            torch.cat([torch.arange(n) for n in (5, 9, 3, 7)])[None],
            DOCUMENTS[None],
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGGING_FACE)
@pytest.mark.parametrize(("q_start", "q_len", "kv_len"), [(0, N, N), (17, 7, N)])
def test_hugging_face(name: str, q_start: int, q_len: int, kv_len: int):
    hf = pytest.importorskip("transformers.masking_utils", reason="needs transformers (pip install maskwork[hf])")
    mask, mask_mod = HUGGING_FACE[name](hf)
    same(mask, mask_mod, q_len, kv_len, q_start, batch=mask.batch)
