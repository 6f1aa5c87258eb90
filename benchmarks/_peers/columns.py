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
    "(causal() & custom(lambda b, h, q, k: q < bounds[k])).bind(n)",
    note="`bounds = startend_row_indices[b, h, :, 0]`: the queries from there on do not see the key",
)
def causal_one_bound() -> Iterator[Case]:
    for seed in range(12):
        q, k = positions(N, N)
        start = np.random.default_rng(seed).integers(np.arange(N), N + 1)
        yield {"theirs": (k <= q) & ~(q >= start), "bounds": torch.from_numpy(start), "n": N}


@PEER.row(
    "FlashMask, `causal=True`, two bounds",
    "(causal() & custom(lambda b, h, q, k: (q < starts[k]) | (q >= ends[k]))).bind(n)",
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
    "custom(lambda b, h, q, k: (q < starts[k]) & (q >= ends[k])).bind(n)",
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
    "custom(lambda b, h, q, k: ((q < b0[k]) | (q >= b1[k])) & ((q < b2[k]) | (q >= b3[k]))).bind(n)",
    shown=False,
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
    marks = [np.where((np.arange(N) >= a) & (np.arange(N) < b), 0, -1) for a, b in (queries, keys)]
    return {"theirs": _slice(kind, queries, keys), "q_marks": marks[0], "k_marks": marks[1], "q0": queries[0],
            "k0": keys[0], "d": keys[1] - queries[1], "n": N}  # fmt: skip


@PEER.row(
    "MagiAttention, a full slice",
    "match(q_marks, k_marks).bind(n)",
    note="marks: 0 inside the range, -1 elsewhere. Slices join by `|`",
)
def full_slice() -> Iterator[Case]:
    yield from (_case(0, *ranges) for ranges in SLICES)


@PEER.row(
    "a causal slice",
    "(match(q_marks, k_marks) & (band(None, d) if d >= 0 else causal().shift(q=-d))).bind(n)",
    note="`d`: the end of its keys minus the end of its queries",
)
def causal_slice() -> Iterator[Case]:
    yield from (_case(1, *ranges) for ranges in SLICES)


@PEER.row(
    "an inverse causal slice",
    "(match(q_marks, k_marks) & band(0, None).shift(q=q0, k=k0)).bind(n)",
    note="`q0`, `k0`: the starts of its ranges",
)
def inverse_causal_slice() -> Iterator[Case]:
    yield from (_case(2, *ranges) for ranges in SLICES)


@PEER.row(
    "a bidirectional causal slice",
    "(match(q_marks, k_marks) & (band(None, d) if d >= 0 else causal().shift(q=-d)) "
    "& band(0, None).shift(q=q0, k=k0)).bind(n)",
)
def bidirectional_causal_slice() -> Iterator[Case]:
    yield from (_case(3, *ranges) for ranges in SLICES)


@PEER.row(
    "several slices",
    "reduce(or_, [match(*s) & (band(None, d) if d >= 0 else causal().shift(q=-d)) for s, d in slices]).bind(n)",
    shown=False,
)
def slices() -> Iterator[Case]:
    for seed in range(10):
        random = np.random.default_rng(seed)
        cases = []
        for _ in range(4):
            queries, keys = (tuple(np.sort(random.choice(N + 1, 2, replace=False)).tolist()) for _ in range(2))
            cases.append(_case(1, queries, keys))
        parts = [((case["q_marks"], case["k_marks"]), case["d"]) for case in cases]
        yield {"theirs": reduce(or_, [case["theirs"] for case in cases]), "slices": parts, "n": N, "reduce": reduce,
               "or_": or_}  # fmt: skip
