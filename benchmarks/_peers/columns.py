"""FlashMask and MagiAttention: masks by column and by rectangle, by their documentation, written here as formulas.

FlashMask's `startend_row_indices` hide, for each key, the queries from a start to an end. MagiAttention's slices pair a
range of queries with a range of keys, inside which the mask is full, causal (its last cells aligned), inverse causal
(its first cells aligned) or both.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_

import numpy as np
import torch

from .table import Case, Peer, positions

PEER = Peer("FlashMask, MagiAttention", "the formulas of their documentation")

N = 12
#: (queries, keys): ranges of a slice.
SLICES = (((0, 12), (0, 12)), ((2, 7), (1, 6)), ((3, 5), (0, 9)), ((1, 9), (4, 7)), ((6, 12), (6, 12)))


@PEER.row(
    "FlashMask, `causal=True`, one bound",
    "(causal() & from_key_bounds(bounds)).bind(n)",
    note="`bounds = startend_row_indices[..., 0]`, repeated for each group of query heads: the queries from there on "
    "do not see the key",
)
def causal_one_bound() -> Iterator[Case]:
    for seed in range(12):
        q, k = positions(N, N)
        start = np.random.default_rng(seed).integers(np.arange(N), N + 1)
        yield {"theirs": (k <= q) & ~(q >= start), "bounds": torch.from_numpy(start), "n": N}


@PEER.row(
    "FlashMask, `causal=True`, two bounds",
    "(causal() & from_key_bounds(starts, ends)).bind(n)",
)
def causal_two_bounds() -> Iterator[Case]:
    for seed in range(12):
        q, k = positions(N, N)
        random = np.random.default_rng(seed)
        start = random.integers(np.arange(N), N + 1)
        end = random.integers(start, N + 1)
        theirs = (k <= q) & ~((q >= start) & (q < end))
        yield {"theirs": theirs, "starts": torch.from_numpy(start), "ends": torch.from_numpy(end), "n": N}


@PEER.row(
    "FlashMask, `causal=False`, two bounds",
    "(from_key_bounds(starts) & from_key_bounds(end=ends)).bind(n)",
    note="the start of the hidden lower part, the end of the hidden upper part",
)
def two_bounds() -> Iterator[Case]:
    for seed in range(12):
        q, _ = positions(N, N)
        random = np.random.default_rng(seed)
        start, end = random.integers(np.arange(N), N + 1), random.integers(0, np.arange(N) + 1)
        theirs = ~((q >= start) | (q < end))
        yield {"theirs": theirs, "starts": torch.from_numpy(start), "ends": torch.from_numpy(end), "n": N}


@PEER.row(
    "FlashMask, `causal=False`, four bounds",
    "(from_key_bounds(b0, b1) & from_key_bounds(b2, b3)).bind(n)",
)
def four_bounds() -> Iterator[Case]:
    for seed in range(12):
        q, _ = positions(N, N)
        random = np.random.default_rng(seed)
        b0 = random.integers(np.arange(N), N + 1)
        b1 = random.integers(b0, N + 1)
        b3 = random.integers(0, np.arange(N) + 1)
        b2 = random.integers(0, b3 + 1)
        theirs = ~(((q >= b0) & (q < b1)) | ((q >= b2) & (q < b3)))
        bounds = {f"b{i}": torch.from_numpy(bound) for i, bound in enumerate((b0, b1, b2, b3))}
        yield {"theirs": theirs, **bounds, "n": N}


def _slice(kind: int, queries: tuple[int, int], keys: tuple[int, int]) -> np.ndarray:
    """Return the cells of one slice: 0 full, 1 causal, 2 inverse causal, 3 both."""
    q, k = positions(N, N)
    cells = (q >= queries[0]) & (q < queries[1]) & (k >= keys[0]) & (k < keys[1])
    if kind in (1, 3):
        cells &= k - keys[1] <= q - queries[1]
    if kind in (2, 3):
        cells &= k - keys[0] >= q - queries[0]
    return cells


def _case(kind: int, queries: tuple[int, int], keys: tuple[int, int]) -> Case:
    return {"theirs": _slice(kind, queries, keys), "q_range": queries, "k_range": keys, "n": N}


@PEER.row("MagiAttention, a full slice", "rectangles([q_range], [k_range]).bind(n)", shown=False)
def full_slice() -> Iterator[Case]:
    yield from (_case(0, *ranges) for ranges in SLICES)


@PEER.row("a causal slice", "rectangles([q_range], [k_range], 'causal').bind(n)", shown=False)
def causal_slice() -> Iterator[Case]:
    yield from (_case(1, *ranges) for ranges in SLICES)


@PEER.row("an inverse causal slice", "rectangles([q_range], [k_range], 'inverse_causal').bind(n)", shown=False)
def inverse_causal_slice() -> Iterator[Case]:
    yield from (_case(2, *ranges) for ranges in SLICES)


@PEER.row("a bidirectional causal slice", "rectangles([q_range], [k_range], 'bicausal').bind(n)", shown=False)
def bidirectional_causal_slice() -> Iterator[Case]:
    yield from (_case(3, *ranges) for ranges in SLICES)


@PEER.row(
    "MagiAttention, `flex_flash_attn_func`",
    "rectangles(q_ranges, k_ranges, attn_type_map).bind(n)",
    note="0 full, 1 causal, 2 inverse causal, 3 bidirectional causal; slices may overlap",
)
def slices() -> Iterator[Case]:
    for seed in range(24):
        random = np.random.default_rng(seed)
        ranges = [[np.sort(random.choice(N + 1, 2, replace=False)).tolist() for _ in range(2)] for _ in range(4)]
        kinds = random.integers(0, 4, 4).tolist()
        theirs = reduce(or_, [_slice(kind, *pair) for kind, pair in zip(kinds, ranges, strict=True)])
        q_ranges, k_ranges = zip(*ranges, strict=True)
        yield {"theirs": theirs, "q_ranges": list(q_ranges), "k_ranges": list(k_ranges), "attn_type_map": kinds, "n": N}
