"""Masks of well-known models as one call each: `mw.recipes.streaming_llm(4096, 4)`. Each is a plain expression."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import MaskError
from ._arrays import MAX_CELLS, as_int, as_ints
from ._atoms.blocks import block_causal, chunked
from ._atoms.documents import document, within
from ._atoms.ids import match
from ._atoms.intervals import from_spans
from ._atoms.neighborhood import neighborhood
from ._atoms.per import per_row
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
    "gist",
    "gpt",
    "longformer",
    "mistral",
    "multimodal",
    "next_scale",
    "packed",
    "prefix_lm",
    "shared_prefix",
    "sliding_tile",
    "streaming",
    "streaming_llm",
    "time_window",
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

    transformers draws in training alone. At inference every "random" block of its `block_sparse` attention is block 0,
    which a query of the inner blocks then counts `1 + r` times in its softmax, r = `num_random_blocks`. That is
    `bigbird(…, random=0)` with a bias of `log(1 + r)` on the keys of block 0, exactly:

        bias = torch.zeros(1, 1, n, n)      # n = block_size * blocks
        bias[..., block_size : n - block_size, :block_size] = math.log(1 + r)
        mw.attention(q, k, v, mw.recipes.bigbird(block_size, blocks, random=0), bias=bias)

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


def chunked_local(size: int, starts: Any = None) -> Mask:
    """Allow causally inside each chunk of `size` positions (Llama 4's local layers).

    Hugging Face's `attention_chunk_size` counts alike, from the first token after the left padding: pass `starts`.

    Args:
        size: positions a chunk.
        starts: int `(B,)`, or an int: the first real position of each batch row, where its chunks start. Padding before
            it sees nothing and is not seen. Left out: chunks start at position 0.

    >>> import maskwork as mw
    >>> mw.recipes.chunked_local(8192)
    causal & chunked(8192)
    >>> mw.recipes.chunked_local(2, starts=1).bind(4).dense().astype(int)[0, 0].tolist()
    [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    """
    if starts is None:
        return causal() & chunked(size)
    first = np.atleast_1d(as_ints(starts, "chunked_local(starts)", ndims=(0, 1))).tolist()
    # A shifted mask allows no cell whose source is before position 0.
    return causal() & _each_row([chunked(size).shift(q=start, k=start) for start in first], "chunked_local(starts)")


def _each_row(masks: list[Mask], name: str) -> Mask:
    """Return one mask for each batch row, or the one mask for all."""
    if not masks:
        raise MaskError(f"{name} takes one number for each batch row, got none; pass an int for all rows")
    return masks[0] if len(masks) == 1 else per_row(masks)


def streaming(chunk: int, left: int | None, right: int = 0) -> Mask:
    """Allow the query's chunk, `left` chunks before it and `right` after it: streaming speech recognition.

    Chunk-based masks of Transformer transducers (Chen et al. 2021), WeNet (Zhang et al. 2021) and NeMo's
    `att_context_size`. An encoder answers a chunk at a time; `right` chunks of lookahead delay it.

    Args:
        chunk: positions of a chunk, at least 1.
        left: chunks before the query's own; None = all of them.
        right: chunks after it. WeNet's `static_chunk_size` and `num_decoding_left_chunks` are `chunk` and `left`, its
            -1 is None. NeMo's `att_context_size=[l, r]` with `chunked_limited` is `chunk=r + 1, left=l // (r + 1)`.

    With `bc = block_causal([chunk, …])`, `streaming(chunk, left)` is `bc - bc.shift(q=(left + 1) * chunk)`.

    >>> import maskwork as mw
    >>> mw.recipes.streaming(2, 1).bind(6).spans.row(4)
    [(2, 6)]
    """
    return chunked(chunk, left=left, right=right)


def gist(prompt: Any, gists: Any) -> Mask:
    """Allow causally, where what follows the gist tokens sees those instead of the prompt (Mu et al. 2023).

    Args:
        prompt: tokens before the gist tokens, an int or int `(B,)`.
        gists: number of gist tokens, likewise. They see the prompt; all that comes after them sees them and itself.

    >>> import maskwork as mw
    >>> mw.recipes.gist(2, 1).bind(5).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    """
    counts = [
        np.atleast_1d(as_ints(n, f"gist({name})", ndims=(0, 1))) for n, name in ((prompt, "prompt"), (gists, "gists"))
    ]
    if max(map(len, counts)) > 1 and len({len(n) for n in counts if len(n) > 1}) > 1:
        raise MaskError(
            f"gist takes as many prompts as gists, got {len(counts[0])} and {len(counts[1])}; pass one each"
        )
    before, tokens = np.broadcast_arrays(*counts)
    # The queries after the gist tokens are all but those before them.
    rows = [prefix(p).shift(q=p + g) for p, g in zip(before.tolist(), tokens.tolist(), strict=True)]
    return causal() - _each_row(rows, "gist(prompt)")


def time_window(times: Any, before: int, after: int = 0) -> Mask:
    """Allow keys whose time lies in `[t - before, t + after]` of the query's: events at irregular times.

    Args:
        times: int `(K,)` or `(B, K)`, the time of each position in one unit, never decreasing along a row.
        before: how far back in time a query looks, at least 0; a key at exactly that distance is seen.
        after: how far ahead.

    Raises:
        MaskError: the times of a row decrease.

    Events at the same time see each other; `& causal()` orders them by position.

    >>> import maskwork as mw
    >>> mw.recipes.time_window([0, 1, 5, 6, 6], before=1).bind(5).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]]
    """
    array = as_ints(times, "time_window(times)", ndims=(1, 2), minimum=None)
    back = as_int(before, "time_window(before)", minimum=0)
    ahead = as_int(after, "time_window(after)", minimum=0)
    rows = np.atleast_2d(array)
    if (np.diff(rows, axis=1) < 0).any():
        raise MaskError("time_window takes times that never decrease, got some that do; sort the events by time")
    starts, ends = np.empty_like(rows), np.empty_like(rows)
    for b, row in enumerate(rows):
        starts[b] = np.searchsorted(row, row - back, side="left")
        ends[b] = np.searchsorted(row, row + ahead, side="right")
    return from_spans(starts[..., None], ends[..., None])


def multimodal(island_ids: Any, window: int | None = None) -> Mask:
    """Allow causally, and both ways inside each island, such as an image (Gemma 3, PaliGemma 2, Qwen-VL variants).

    Args:
        island_ids: int `(K,)` or `(B, K)`: the island of each position, -1 for text. It is Hugging Face's
            `block_sequence_ids`.
        window: of Gemma 3's local layers, Hugging Face's `sliding_window`: keys before the last `window` are not seen,
            in an image neither: `& band(window - 1, None)`. None = no window, its global layers.

    >>> import maskwork as mw
    >>> mw.recipes.multimodal([-1, 0, 0, -1]).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    >>> mw.recipes.multimodal([-1, 0, 0, -1], window=2).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    mask = causal() | document(ids=island_ids)
    return mask if window is None else mask & band(as_int(window, "multimodal(window)", minimum=1) - 1, None)


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
