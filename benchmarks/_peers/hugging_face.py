"""Hugging Face transformers: the factories of `masking_utils`, called as models call them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import transformers
from transformers import masking_utils

from .table import Case, Peer

PEER = Peer("Hugging Face transformers, mask factories", f"itself, {transformers.__version__}")

BATCH, SIZE = 2, 5
#: (tokens in the cache, new tokens)
STEPS = [(0, 1), (0, 6), (0, 11), (5, 1), (5, 4), (12, 1), (12, 7)]


def attention_mask(kind: str, n: int) -> torch.Tensor:
    """Return a padding mask of n tokens, 1 = token: padded on the left, on the right, or not."""
    marks = torch.ones(BATCH, n, dtype=torch.int64)
    if kind == "left":
        marks[0, : n // 3] = 0
    if kind == "right":
        marks[0, n - n // 3 :] = 0
    return marks


def made(factory: str, past: int, new: int, marks: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    """Return the mask that a model's factory makes with `past` tokens in the cache, bool."""
    cache = transformers.DynamicCache()
    if past:
        cache.update(*[torch.zeros(BATCH, 1, past, 1)] * 2, 0)
    config = transformers.LlamaConfig(attn_implementation="sdpa")
    config.sliding_window = config.attention_chunk_size = SIZE
    skip = "allow_is_bidirectional_skip" if "bidirectional" in factory else "allow_is_causal_skip"
    return getattr(masking_utils, f"create_{factory}")(
        **{
            "config": config,
            "inputs_embeds": torch.zeros(BATCH, new, 1),
            "attention_mask": marks,
            "past_key_values": cache if past else None,
            skip: False,
            **options,
        }
    )


def _padded(factory: str, steps: list[tuple[int, int]] = STEPS) -> Iterator[Case]:
    for (past, new), kind in product(steps, ["none", "left", "right"]):
        marks = attention_mask(kind, past + new)
        yield {"theirs": made(factory, past, new, marks), "attention_mask": marks, "q_len": new, "kv_len": past + new,
               "past": past, "W": SIZE}  # fmt: skip


@PEER.row(
    "`create_causal_mask`, `attention_mask` (B, keys)",
    "(causal() & real(attention_mask)).bind(q_len, kv_len, q_start=past)",
    note="1 = token; with a cache, a mark for its keys too",
)
def causal() -> Iterator[Case]:
    yield from _padded("causal_mask")


@PEER.row(
    "`create_sliding_window_causal_mask`, `sliding_window=W`",
    "(sliding_window(W) & real(attention_mask)).bind(q_len, kv_len, q_start=past)",
)
def sliding() -> Iterator[Case]:
    yield from _padded("sliding_window_causal_mask")


@PEER.row(
    "`create_bidirectional_mask`", "real(attention_mask).bind(q_len, kv_len)", note="an encoder's, or cross-attention's"
)
def both_ways() -> Iterator[Case]:
    yield from _padded("bidirectional_mask", [(0, n) for n in (1, 4, 9)])


@PEER.row(
    "`create_bidirectional_sliding_window_mask`, `sliding_window=W`",
    "(band(W, W) & real(attention_mask)).bind(q_len, kv_len, q_start=0)",
    note="both sides are inclusive: 2 W + 1 keys",
)
def both_ways_sliding() -> Iterator[Case]:
    yield from _padded("bidirectional_sliding_window_mask", [(0, n) for n in (1, 4, 9, 14)])


@PEER.row(
    "`create_chunked_causal_mask`, `attention_chunk_size=W`",
    "per_row([(causal() & chunked(W)).shift(q=n, k=n) for n in left]).bind(q_len, kv_len, q_start=past)",
    note="chunks count from the first real token: `left` counts the padding of each row, and padding itself sees "
    "nothing here",
)
def chunks() -> Iterator[Case]:
    for (past, new), kind in product(STEPS, ["none", "left"]):
        marks = attention_mask(kind, past + new)
        left = (marks == 0).sum(1)
        theirs = made("chunked_causal_mask", past, new, marks)
        yield {"theirs": theirs, "left": left.tolist(), "q_len": new, "kv_len": past + new, "past": past, "W": SIZE}


def _packs() -> Iterator[tuple[list[int], torch.Tensor]]:
    for lengths in ([5, 9, 3], [1, 1, 4], [7], [2, 8]):
        yield lengths, torch.cat([torch.arange(n) for n in lengths])[None]


@PEER.row("packed rows: `position_ids` that restart", "(causal() & document(lengths)).bind(sum(lengths))")
def packed_causal() -> Iterator[Case]:
    for lengths, position_ids in _packs():
        theirs = made("causal_mask", 0, sum(lengths), None, position_ids=position_ids)
        yield {"theirs": theirs, "lengths": lengths}


@PEER.row("the same in sliding layers", "within(sliding_window(W), lengths).bind(sum(lengths))", shown=False)
def packed_sliding() -> Iterator[Case]:
    for lengths, position_ids in _packs():
        theirs = made("sliding_window_causal_mask", 0, sum(lengths), None, position_ids=position_ids)
        yield {"theirs": theirs, "lengths": lengths, "W": SIZE}


@PEER.row("the same in chunked layers", "within(causal() & chunked(W), lengths).bind(sum(lengths))", shown=False)
def packed_chunks() -> Iterator[Case]:
    for lengths, position_ids in _packs():
        theirs = made("chunked_causal_mask", 0, sum(lengths), None, position_ids=position_ids)
        yield {"theirs": theirs, "lengths": lengths, "W": SIZE}


def _images() -> Iterator[torch.Tensor]:
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        starts = torch.randint(0, 9, (BATCH, 1), generator=generator)
        index = torch.arange(18)
        yield torch.where((index >= starts) & (index < starts + 13), (index - starts) // 8, -1)


@PEER.row(
    "`block_sequence_ids` (images seen both ways)",
    "(recipes.multimodal(block_sequence_ids) & real(attention_mask)).bind(q_len)",
)
def images() -> Iterator[Case]:
    for ids, kind in product(_images(), ["none", "right"]):
        marks = attention_mask(kind, 18)
        theirs = made("causal_mask", 0, 18, marks, block_sequence_ids=ids)
        yield {"theirs": theirs, "block_sequence_ids": ids, "attention_mask": marks, "q_len": 18}


@PEER.row(
    "the same in `create_sliding_window_causal_mask`",
    "((sliding_window(W) | document(ids=block_sequence_ids)) & real(attention_mask)).bind(q_len)",
    note="the factory's window does not cut an image, Gemma 3's own layers do: see below",
)
def images_sliding() -> Iterator[Case]:
    for ids, kind in product(_images(), ["none", "right"]):
        marks = attention_mask(kind, 18)
        theirs = made("sliding_window_causal_mask", 0, 18, marks, block_sequence_ids=ids)
        yield {"theirs": theirs, "block_sequence_ids": ids, "attention_mask": marks, "q_len": 18, "W": SIZE}


@PEER.row(
    "a 4-D `attention_mask`, bool or additive",
    "from_dense(mask).bind(q_len, kv_len, q_start=0) if mask.dtype == torch.bool else "
    "from_additive(mask)[0].bind(q_len, kv_len, q_start=0)",
    note="transformers passes the mask on as it is, to every layer",
)
def four_dimensions() -> Iterator[Case]:
    for (q_len, kv_len), seed, additive in product([(3, 3), (2, 5), (1, 4)], range(3), [False, True]):
        cells = torch.rand(BATCH, 1, q_len, kv_len, generator=torch.Generator().manual_seed(seed)) < 0.6
        mask = torch.zeros(cells.shape).masked_fill(~cells, torch.finfo(torch.float32).min) if additive else cells
        theirs = made("causal_mask", kv_len - q_len, q_len, mask)
        theirs = theirs == 0 if additive else theirs
        yield {"theirs": theirs, "mask": mask, "q_len": q_len, "kv_len": kv_len}
