"""Our masks against attn_gym's, FlexAttention's own examples: every one it has, converted where the counts differ."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attn_gym import masks as gym
from torch.nn.attention.flex_attention import noop_mask

import maskwork as mw
from helpers.against import N, assert_same_cells

LENGTHS = [5, 9, 3, 7]
OFFSETS = torch.tensor([0, *np.cumsum(LENGTHS)])
TREE = [-1, 0, 0, 1, 1, 2, 3]
TILES = [4, 4, 3, 4]  # real tokens in each tile of 4
TOP_K = torch.tensor([[[[0, 1], [1, 3], [2, 0], [3, 2]], [[3, 0], [1, 0], [2, 1], [1, 2]]]])
TEXT, FRAMES, FRAME = 3, 3, 7
IN_FRAME = np.array([-1] * TEXT + [*range(FRAME)] * FRAMES)  # a token's place in its frame


def prompt_then(parents: list[int], prompt: int) -> mw.Mask:
    """A tree of drafts after a prompt that all of them see."""
    return mw.tree([*range(-1, prompt - 1), *(prompt - 1 if i < 0 else i + prompt for i in parents)])


def shown_tiles(chosen: torch.Tensor) -> mw.Mask:
    """One head's (tiles, k) choice: tile i of the queries sees each tile that its row names."""
    mask = mw.empty()
    for one in chosen.T:
        mask |= mw.match(one.repeat_interleave(4), torch.arange(4).repeat_interleave(4))
    return mask


# in the order of attn_gym's own list
SQUARE = {
    "batchify": (mw.within(mw.causal(), [6] * 4), gym.batchify_mask_mod(gym.causal_mask, 6)),
    "block_diffusion": (mw.recipes.block_diffusion(12, 3), gym.generate_block_diffusion_mask(12, 3)),
    "block_diffusion, short block": (mw.recipes.block_diffusion(12, 5), gym.generate_block_diffusion_mask(12, 5)),
    "block_diffusion, autoregressive": (mw.recipes.block_diffusion(12, 1), gym.generate_block_diffusion_mask(12, 1)),
    "causal": (mw.recipes.gpt(), gym.causal_mask),
    # the last whole hop inside the window
    "dilated": (mw.dilated(7 // 3, 3), gym.generate_dilated_sliding_window(7, 3)),
    "documents": (mw.document(LENGTHS), gym.generate_doc_mask_mod(noop_mask, OFFSETS)),
    "documents, causal": (mw.recipes.packed(LENGTHS), gym.generate_doc_mask_mod(gym.causal_mask, OFFSETS)),
    "documents, prefix": (
        mw.within(mw.recipes.prefix_lm(2), LENGTHS), gym.generate_doc_mask_mod(gym.generate_prefix_lm_mask(2), OFFSETS),
    ),
    "documents, packed": (mw.recipes.packed(LENGTHS), gym.generate_packed_causal_doc_mask_mod(OFFSETS)),
    # its window is on each side, Longformer's is both together
    "global_sliding_window": (
        mw.recipes.longformer(2 * 3, [0, 9]),
        gym.generate_global_sliding_window(3, torch.isin(torch.arange(N), torch.tensor([0, 9]))),
    ),
    "prefix_lm": (mw.recipes.prefix_lm(7), gym.generate_prefix_lm_mask(7)),
    "shared_prefix": (
        mw.recipes.shared_prefix(5, [9, 3, 7]),
        gym.generate_shared_prefix_mask_mod(OFFSETS, torch.tensor([0, 0, 0, 0])),
    ),
    "shared_prefix, two prompts": (
        mw.within([mw.recipes.shared_prefix(5, [9]), mw.recipes.shared_prefix(3, [7])], [14, 10]),
        gym.generate_shared_prefix_mask_mod(OFFSETS, torch.tensor([0, 0, 2, 2])),
    ),
    # nothing is excluded at distance W: it sees W + 1 keys
    "sliding_window": (mw.recipes.mistral(5 + 1), gym.generate_sliding_window(5)),
    # Sparse VideoGen: the prompt sees and is seen by all; frames near one another, or places near one another in theirs
    "spatial": (
        mw.global_tokens(range(TEXT)) | mw.band(11, 11),
        gym.generate_spatial_head_mask_mod(TEXT, FRAMES, FRAME, width=2, round_width=4),
    ),
    "spatial, first frame shown": (
        mw.global_tokens(range(TEXT)) | mw.sinks(TEXT + FRAME) | mw.band(11, 11),
        gym.generate_spatial_head_mask_mod(TEXT, FRAMES, FRAME, width=2, round_width=4, attn_sink=True),
    ),
    "temporal": (
        mw.global_tokens(range(TEXT)) | mw.match(IN_FRAME, IN_FRAME)
        | mw.match(IN_FRAME, IN_FRAME - 1) | mw.match(IN_FRAME - 1, IN_FRAME),
        gym.generate_temporal_head_mask_mod(TEXT, FRAMES, FRAME, width=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize(("q_start", "q_len"), [(0, N), (17, 7)])
def test_masks_of_one_sequence(name: str, q_start: int, q_len: int):
    mask, mask_mod = SQUARE[name]
    assert_same_cells(mask, mask_mod, q_len, N, q_start)


@pytest.mark.parametrize("name", SQUARE)
def test_a_mask_mod_is_a_mask(name: str):
    """`custom` takes the very function, and means what `create_mask` means by it."""
    mask, mask_mod = SQUARE[name]
    assert mw.custom(mask_mod).bind(N).equals(mask)


@pytest.mark.parametrize(("side", "kernel"), [(4, (3, 3)), (5, (3, 5)), (6, (5, 3)), (5, (5, 5))])
def test_natten(side: int, kernel: tuple[int, int]):
    """On a square alone: there rows are clamped by the width."""
    mask, n = mw.neighborhood((side, side), kernel), side**2
    assert_same_cells(mask, gym.generate_natten(side, side, *kernel), n, n)
    # an even kernel is one wider there
    assert_same_cells(mask, gym.generate_natten(side, side, kernel[0] - 1, kernel[1] - 1), n, n)


@pytest.mark.parametrize(("height", "width", "kernel"), [(4, 6, (3, 3)), (6, 9, (5, 3)), (6, 6, (3, 5))])
def test_tiled_natten(height: int, width: int, kernel: tuple[int, int]):
    mask_mod = gym.generate_tiled_natten(width, height, kernel[1], kernel[0], 3, 2)
    assert_same_cells(mw.neighborhood((height, width), kernel, tile=(2, 3)), mask_mod, height * width, height * width)


def test_natten_along_a_morton_curve():
    """Another order of the same cells: `select` reorders a mask, and `custom` takes the function as it is."""
    n, window = 8, 5
    x, y = gym.natten.morton_decode(np.arange(n * n))
    mask_mod = gym.generate_morton_natten(n, n, window, window)
    ours = mw.neighborhood((n, n), window).bind(n * n).select(q=x * n + y, k=x * n + y)
    assert np.array_equal(ours.dense(), mw.custom(mask_mod).bind(n * n).dense())
    assert_same_cells(mw.custom(mask_mod), mask_mod, n * n, n * n)


@pytest.mark.parametrize("text", [0, 5])
@pytest.mark.parametrize(
    ("shape", "kernel", "tile"),
    [
        ((4, 6), (2, 2), (2, 1)),
        ((8, 8), (4, 6), (2, 2)),
        ((4, 4, 6), (2, 4, 6), (2, 2, 2)),
        ((6, 4, 4), (6, 2, 2), (2, 2, 1)),
    ],
)
def test_sliding_tiles(shape: tuple[int, ...], kernel: tuple[int, ...], tile: tuple[int, ...], text: int):
    """Text after the video sees and is seen by everything."""
    generate = gym.generate_sta_mask_mod_2d if len(shape) == 2 else gym.generate_sta_mask_mod_3d
    n = int(np.prod(shape))
    mask = mw.within([mw.recipes.sliding_tile(shape, kernel, tile), mw.full()], [n, text])
    if text:
        mask |= mw.global_tokens(range(n, n + text))
    assert_same_cells(mask, generate(shape, kernel, tile, text), n + text, n + text)


def test_flamingo():
    """Each image is seen by the text in its interval; where intervals overlap, each image is one `match`."""
    tokens, text = 3, 12
    image = torch.arange(3).repeat_interleave(tokens)
    apart = torch.tensor([[2, 5], [5, 9], [9, 12]])
    of_text = torch.bucketize(torch.arange(text), torch.tensor([2, 5, 9]), right=True) - 1
    mask_mod = gym.generate_vision_cross_attention_mask_mod(apart, tokens)
    assert_same_cells(mw.recipes.flamingo(of_text, image), mask_mod, text, 3 * tokens)
    together = torch.tensor([[0, 7], [1, 7], [7, 12]])
    mask = mw.empty()
    for i, (first, last) in enumerate(together.tolist()):
        mask |= mw.recipes.flamingo([i if first <= q < last else -1 for q in range(text)], image)
    assert_same_cells(mask, gym.generate_vision_cross_attention_mask_mod(together, tokens), text, 3 * tokens)


@pytest.mark.parametrize("prompt", [1, 4])
def test_jetspec(prompt: int):
    """There a query's index counts from the first draft; here its position counts from the first token."""
    nodes = len(TREE)
    drafts = gym.generate_jetspec_tree_causal_mask_mod(prompt, gym.build_tree_ancestor_matrix(TREE, "cpu"))
    assert_same_cells(prompt_then(TREE, prompt), drafts, nodes, prompt + nodes, prompt, q_first=0)
    blocks = gym.generate_jetspec_training_mask_mod(prompt, 4)
    assert_same_cells(mw.recipes.shared_prefix(prompt, [4] * 3), blocks, 12, prompt + 12, prompt, q_first=0)


def test_video_sparse_attention():
    """Tiles chosen by head; a tile at the edge of the video has padding at its end, which nobody sees."""
    heads = mw.per_head([shown_tiles(chosen) for chosen in TOP_K[0]])
    assert_same_cells(heads, gym.generate_vsa_mask_mod(TOP_K, 4), 16, 16)
    real = torch.cat([torch.arange(4) < n for n in TILES])
    assert_same_cells(heads & mw.real(real[None]), gym.generate_vsa_mask_mod(TOP_K, 4, torch.tensor(TILES)), 16, 16)


def test_every_mask_is_compared():
    """A new one in a later attn_gym shows up here."""
    source = Path(__file__).read_text(encoding="utf-8")
    made = [name for name in dir(gym) if name.endswith("_mod") or name.startswith("generate_")]
    assert len(made) >= 18
    assert [name for name in made if name not in source] == []
