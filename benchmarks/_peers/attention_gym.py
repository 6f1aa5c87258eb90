"""attention-gym: masks that it generates. tests/masks/test_recipes_attn_gym.py compares all of its masks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, product
from typing import Any

import torch
from attn_gym import masks as gym
from torch.nn.attention.flex_attention import create_mask

from .table import GRIDS, Case, Peer

PEER = Peer("attention-gym", "itself, 0.0.17")

LENGTHS = ([8], [3, 5], [1, 4, 2, 1], [2, 2, 4])


def _dense(mask_mod: Any, q_len: int, kv_len: int) -> torch.Tensor:
    return create_mask(mask_mod, 1, 1, q_len, kv_len, device="cpu")


def _offsets(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *accumulate(lengths)])


@PEER.row(
    "`generate_sliding_window(W)`",
    "sliding_window(W + 1).bind(q_len, kv_len, q_start=0)",
    note="W keys behind, and the query's own",
)
def windows() -> Iterator[Case]:
    for (q_len, kv_len), width in product(GRIDS, (0, 1, 3, 20)):
        theirs = _dense(gym.generate_sliding_window(width), q_len, kv_len)
        yield {"theirs": theirs, "W": width, "q_len": q_len, "kv_len": kv_len}


@PEER.row("`generate_prefix_lm_mask(n)`", "recipes.prefix_lm(n).bind(q_len, kv_len, q_start=0)")
def prefixes() -> Iterator[Case]:
    for (q_len, kv_len), n in product(GRIDS, (1, 3, 8)):
        theirs = _dense(gym.generate_prefix_lm_mask(n), q_len, kv_len)
        yield {"theirs": theirs, "n": n, "q_len": q_len, "kv_len": kv_len}


@PEER.row("`generate_doc_mask_mod(mask, offsets)`", "within(causal(), lengths).bind(n)")
def documents() -> Iterator[Case]:
    for lengths in LENGTHS:
        theirs = _dense(gym.generate_doc_mask_mod(gym.causal_mask, _offsets(lengths)), 8, 8)
        yield {"theirs": theirs, "lengths": lengths, "n": 8}


@PEER.row("the same with a window of W", "within(sliding_window(W + 1), lengths).bind(n)", shown=False)
def documents_window() -> Iterator[Case]:
    for lengths, width in product(LENGTHS, (1, 2)):
        window = gym.generate_sliding_window(width)
        yield {"theirs": _dense(gym.generate_doc_mask_mod(window, _offsets(lengths)), 8, 8), "lengths": lengths,
               "W": width, "n": 8}  # fmt: skip


@PEER.row(
    "`generate_dilated_sliding_window(W, rate)`",
    "dilated(W // rate, rate).bind(n)",
    note="hops, not keys: the last whole hop inside the window; both sides",
)
def dilated_windows() -> Iterator[Case]:
    for n, width, rate in product((5, 12), (1, 4, 7), (1, 2, 3)):
        theirs = _dense(gym.generate_dilated_sliding_window(width, rate), n, n)
        yield {"theirs": theirs, "W": width, "rate": rate, "n": n}


@PEER.row(
    "`generate_global_sliding_window(W, is_global)`",
    "recipes.longformer(2 * W, globals).bind(n)",
    note="W keys on each side; Longformer's own window counts both sides",
)
def global_windows() -> Iterator[Case]:
    for n, width, positions in product((8, 12), (1, 3), ([0], [2, 5], [])):
        is_global = torch.isin(torch.arange(n), torch.tensor(positions, dtype=torch.int64))
        theirs = _dense(gym.generate_global_sliding_window(width, is_global), n, n)
        yield {"theirs": theirs, "W": width, "globals": positions, "n": n}


@PEER.row(
    "`generate_block_diffusion_mask(n, size)`",
    "recipes.block_diffusion(n, size).bind(2 * n)",
)
def block_diffusion() -> Iterator[Case]:
    for n, size in product((6, 9, 12), (1, 2, 3, 4)):
        theirs = _dense(gym.generate_block_diffusion_mask(n, size), 2 * n, 2 * n)
        yield {"theirs": theirs, "n": n, "size": size}
