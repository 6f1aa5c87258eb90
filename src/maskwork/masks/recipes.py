"""Masks of well-known models as one call each: `mw.recipes.streaming_llm(4096, 4)`. Each is a plain expression."""

from __future__ import annotations

from typing import Any

from ..errors import MaskError
from ._arrays import MAX_CELLS, as_int, as_ints
from ._atoms.blocks import block_causal, chunked
from ._atoms.documents import document, within
from ._atoms.ids import match
from ._atoms.neighborhood import neighborhood
from ._atoms.positions import band, causal, empty, prefix, sliding_window
from ._atoms.positions import sinks as sink_tokens
from ._atoms.sparse import global_tokens, random_blocks
from ._mask import Mask
from ._text.registry import register_recipes

__all__ = [
    "bigbird",
    "block_diffusion",
    "chunked_local",
    "flamingo",
    "gpt",
    "longformer",
    "mistral",
    "multimodal",
    "next_scale",
    "packed",
    "prefix_lm",
    "shared_prefix",
    "sliding_tile",
    "streaming_llm",
]

register_recipes(__all__)


def gpt() -> Mask:
    """Build `causal()`: GPT, Llama and every plain decoder (Radford et al. 2018).

    >>> import maskwork as mw
    >>> mw.recipes.gpt()
    causal
    """
    return causal()


def mistral(window: int) -> Mask:
    """Allow the last `window` keys, the query's own included (Mistral 7B, Jiang et al. 2023; Gemma's local layers).

    Hugging Face's `sliding_window` and vLLM's count alike; flash-attention's `window_size` is `(window - 1, 0)`.

    >>> import maskwork as mw
    >>> mw.recipes.mistral(4096)
    sliding_window(4096)
    """
    return sliding_window(window)


def streaming_llm(window: int, sinks: int = 4) -> Mask:
    """Allow the last `window` keys and the first `sinks` (StreamingLLM, Xiao et al. 2023).

    There the cache holds `start_size + recent_size` keys: `sinks` and `window`, the query's own key in the latter.

    >>> import maskwork as mw
    >>> mw.recipes.streaming_llm(1024, 4)
    causal & (sinks(4) | sliding_window(1024))
    """
    return causal() & (sliding_window(window) | sink_tokens(sinks))


def prefix_lm(n: Any) -> Mask:
    """Allow both ways inside the first `n` positions, causal after them (Raffel et al. 2020, T5; PaliGemma).

    FlexAttention's `generate_prefix_lm_mask(n)` counts alike.

    Args:
        n: an int, or int `(B,)` with one prefix per batch row.

    >>> import maskwork as mw
    >>> mw.recipes.prefix_lm(2)
    causal | prefix(2)
    """
    return causal() | prefix(n)


def longformer(window: int, globals: Any) -> Mask:
    """Allow a window on both sides, and tokens that see and are seen by all (Longformer, Beltagy et al. 2020).

    Args:
        window: Hugging Face's `attention_window`, an even number: half of it on either side, so `window + 1` keys.
        globals: int `(G,)` or `(B, G)`, the positions where `global_attention_mask` is 1; see `global_tokens`.

    >>> import maskwork as mw
    >>> mw.recipes.longformer(512, [0])
    band(256, 256) | global_tokens([0])
    """
    if as_int(window, "longformer(window)", minimum=0) % 2:
        raise MaskError(f"longformer's window lies half on either side and is even, got {window}; pass {window + 1}")
    return band(window // 2, window // 2) | global_tokens(globals)


def bigbird(block_size: int, blocks: int, random: int = 3, seed: int = 0) -> Mask:
    """Allow block by block: the neighbours, the first and last, and some at random (BigBird, Zaheer et al. 2020).

    Args:
        block_size: positions per block.
        blocks: blocks in the sequence, at least 3; the sequence has `block_size * blocks` positions.
        random: random blocks per block row, `num_random_blocks` in Hugging Face; drawn as `random_blocks` says, from
            all blocks, whereas there they never fall on those that the other terms allow.
        seed: which drawing; a different one per layer is usual.

    >>> import maskwork as mw
    >>> mw.recipes.bigbird(2, 6, random=0).bind(12).spans.row(5)
    [(0, 8), (10, 12)]
    """
    size = as_int(block_size, "bigbird(block_size)", minimum=1, maximum=MAX_CELLS)
    n = size * as_int(blocks, "bigbird(blocks)", minimum=3)
    # At an edge a neighborhood moves inwards instead of being cut, but only in the first and last block, which are
    # global and see everything anyway.
    neighbours = neighborhood((blocks, size), (3, size))
    return neighbours | global_tokens([*range(size), *range(n - size, n)]) | random_blocks(random, size, blocks, seed)


def packed(lengths: Any) -> Mask:
    """Allow causally inside each document, nothing across (sequence packing, Krell et al. 2021).

    The cells of flash-attention's varlen kernels with `causal=True` and `cu_seqlens` the cumulated lengths.

    Args:
        lengths: int `(documents,)` or `(B, documents)`.

    >>> import maskwork as mw
    >>> mw.recipes.packed([3, 5])
    causal & document([3, 5])
    """
    return causal() & document(lengths)


def chunked_local(size: int) -> Mask:
    """Allow causally inside each chunk of `size` positions (Llama 4's local layers).

    Hugging Face's `attention_chunk_size` counts alike; there chunks start after the left padding, here at position 0.

    >>> import maskwork as mw
    >>> mw.recipes.chunked_local(8192)
    causal & chunked(8192)
    """
    return causal() & chunked(size)


def multimodal(island_ids: Any) -> Mask:
    """Allow causally, and both ways inside each island, such as an image (Gemma 3, PaliGemma 2, Qwen-VL variants).

    Args:
        island_ids: int `(K,)` or `(B, K)`: the island of each position, -1 for text. It is Hugging Face's
            `block_sequence_ids`.

    >>> import maskwork as mw
    >>> mw.recipes.multimodal([-1, 0, 0, -1]).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    """
    return causal() | document(ids=island_ids)


def shared_prefix(length: int, lengths: Any) -> Mask:
    """Allow causally a prompt, then continuations that see the prompt and themselves but not one another.

    Cascade inference (FlashInfer, Ye et al. 2024), several answers to one question scored in one pass. Position ids
    of each continuation restart at `length`.

    Args:
        length: tokens of the prompt.
        lengths: int `(continuations,)`, their tokens.

    >>> import maskwork as mw
    >>> mw.recipes.shared_prefix(2, [1, 2]).bind(5).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    """
    length = as_int(length, "shared_prefix(length)", minimum=0)
    continuations = as_ints(lengths, "shared_prefix(lengths)", ndims=(1,))
    return causal() & (document([length, *continuations.tolist()]) | prefix(length))


def next_scale(sizes: Any) -> Mask:
    """Allow scale by scale: a token sees its own scale, both ways, and all coarser ones (VAR, Tian et al. 2024).

    Args:
        sizes: int `(scales,)`, tokens in each: `[1, 4, 9, 16, …]` for square maps.

    >>> import maskwork as mw
    >>> mw.recipes.next_scale([1, 2]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 1], [1, 1, 1]]
    """
    return block_causal(sizes)


def block_diffusion(length: int, block_size: int) -> Mask:
    """Build the training mask of block diffusion: noisy tokens, then the clean ones (BD3-LM, Arriola et al. 2025).

    Positions `[0, length)` are the noisy tokens and `[length, 2 * length)` the clean ones. A noisy token sees its own
    noisy block and the clean blocks before it; a clean token sees the clean blocks up to its own. No clean token sees
    a noisy one. For sampling one block after another, use `block_causal` over the blocks.

    Args:
        length: tokens of the sequence, the last block of which may be shorter.
        block_size: tokens of a block; 1 is an autoregressive model, `length` plain masked diffusion.

    >>> import maskwork as mw
    >>> mw.recipes.block_diffusion(2, 1).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    """
    n = as_int(length, "block_diffusion(length)", minimum=1, maximum=MAX_CELLS)
    size = as_int(block_size, "block_size", minimum=1)
    blocks = [size] * (n // size) + [n % size] * (n % size > 0)
    same_block, up_to_block = document(blocks), block_causal(blocks)
    #           noisy keys     clean keys
    # noisy q   same block     blocks before
    # clean q   none           up to its block
    # The blocks before are written among the noisy keys, then moved by n to the clean ones.
    before = within([up_to_block - same_block, empty()], [n, n]).shift(k=n)
    return within([same_block, up_to_block], [n, n]) | before


def flamingo(q_images: Any, k_images: Any) -> Mask:
    """Allow a text token the image that comes last before it: cross-attention (Flamingo, Alayrac et al. 2022).

    Args:
        q_images: int `(Q,)` or `(B, Q)`, the image of each text token, counted from 0; -1 before the first.
        k_images: int `(K,)` or `(B, K)`, the image of each image token: `np.repeat(np.arange(images), tokens)`.

    Flamingo, OpenFlamingo and IDEFICS count the `<image>` tags before a token; their "attend to nothing" before the
    first image is -1 here. Where a token sees several images at once, join one `match` for each of them with `|`.

    >>> import maskwork as mw
    >>> mask = mw.recipes.flamingo([-1, 0, 0, 1], [0, 0, 1, 1])
    >>> mask.bind(4, 4, q_start=0).dense().astype(int)[0, 0].tolist()
    [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    """
    return match(q_images, k_images)


def sliding_tile(shape: Any, kernel: Any, tile: Any) -> Mask:
    """Allow a neighborhood of whole tiles, whose tokens lie together (Sliding Tile Attention, Zhang et al. 2025).

    Positions count tile by tile. For windows round each cell in that layout, see `neighborhood(tile=…)`.

    Args:
        shape: cells along each of one, two or three axes: a video's frames, rows and columns.
        kernel: the window in cells along each axis, a multiple of the tile.
        tile: cells of a tile along each axis, which divide `shape`.

    >>> import maskwork as mw
    >>> mw.recipes.sliding_tile((4, 8), (4, 4), (2, 2)).bind(32).spans.row(0)
    [(0, 8), (16, 24)]
    """
    sizes, windows, sides = (as_ints(value, "sliding_tile", ndims=(1,), minimum=1) for value in (shape, kernel, tile))
    if not sizes.shape == windows.shape == sides.shape or (sizes % sides).any() or (windows % sides).any():
        raise MaskError(
            "sliding_tile takes shape, kernel and tile of as many axes, the tile dividing the others, got "
            f"{sizes.tolist()}, {windows.tolist()} and {sides.tolist()}; pad the shape or round the kernel"
        )
    tokens = int(sides.prod())
    return neighborhood([*(sizes // sides).tolist(), tokens], [*(windows // sides).tolist(), tokens])
