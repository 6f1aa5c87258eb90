"""flash-attention: the conditions that its README and its docstrings state, written here as formulas.

The condition is on positions that are aligned at the end: query i of Q stands at i + K - Q.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, product

import numpy as np
import torch

from .table import GRIDS, Array, Case, Peer, attend, positions, qkv

PEER = Peer("flash-attention", "the formulas of its documentation")

SIZES = (None, 0, 1, 3)
#: Keys of each row of a batch, which has room for 8 of them.
CACHES = ([2, 4, 8], [1, 1, 1], [8, 3, 5], [0, 6, 2])
#: Lengths of queries and of keys of packed sequences.
PACKS = (
    ([2, 3], [4, 5]), ([1, 1, 1], [7, 3, 9]), ([4, 2, 5], [4, 2, 5]), ([5, 1], [2, 6]), ([3, 0, 2], [3, 4, 2]),
    ([2, 2], [0, 5]), ([6], [3]),
)  # fmt: skip


def seen(q_len: int, kv_len: int, left: int | None = None, right: int | None = None) -> Array:
    """Return the cells of one sequence for a window of `left` and `right` keys, None = without bound."""
    q, k = positions(q_len, kv_len)
    at = q + kv_len - q_len
    allowed = np.ones((q_len, kv_len), dtype=bool)
    if left is not None:
        allowed &= k >= at - left
    if right is not None:
        allowed &= k <= at + right
    return allowed


def padded(cells: Array, kv_len: int) -> Array:
    """Return the cells with further keys that nobody sees."""
    return np.pad(cells, ((0, 0), (0, kv_len - cells.shape[1])))


def block_diagonal(blocks: list[Array]) -> Array:
    """Return blocks along the diagonal, and nothing elsewhere."""
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    out = np.zeros((rows, columns), dtype=bool)
    i = j = 0
    for block in blocks:
        out[i : i + block.shape[0], j : j + block.shape[1]] = block
        i, j = i + block.shape[0], j + block.shape[1]
    return out


@PEER.row("`causal=True`", "causal().bind(q_len, kv_len, q_start=kv_len - q_len)", note="the last query sees all keys")
def causal() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        yield {"theirs": seen(q_len, kv_len, right=0), "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "`window_size=(left, right)`",
    "band(left, right).bind(q_len, kv_len, q_start=kv_len - q_len)",
    note="its -1 is None here",
)
def window() -> Iterator[Case]:
    for (q_len, kv_len), left, right in product(GRIDS, SIZES, SIZES):
        case = {"q_len": q_len, "kv_len": kv_len, "left": left, "right": right}
        yield {"theirs": seen(q_len, kv_len, left, right), **case}


@PEER.row(
    "`causal=True, window_size=(left, …)`",
    "sliding_window(left + 1).bind(q_len, kv_len, q_start=kv_len - q_len)",
    note="causal sets the right side to 0",
)
def causal_window() -> Iterator[Case]:
    for (q_len, kv_len), left in product(GRIDS, (0, 1, 3)):
        yield {"theirs": seen(q_len, kv_len, left, 0), "q_len": q_len, "kv_len": kv_len, "left": left}


@PEER.row("`cu_seqlens` (queries and keys alike)", "from_cu_seqlens(cu_seqlens).bind(n)")
def packed_rows() -> Iterator[Case]:
    for lengths in ([3, 4], [1, 5, 2], [8], [2, 0, 3]):
        cu_seqlens = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        yield {"theirs": block_diagonal([seen(n, n) for n in lengths]), "cu_seqlens": cu_seqlens, "n": sum(lengths)}


@PEER.row("the same with `causal=True`", "(causal() & from_cu_seqlens(cu_seqlens)).bind(n)")
def packed_rows_causal() -> Iterator[Case]:
    for lengths in ([3, 4], [1, 5, 2], [8], [2, 0, 3]):
        cu_seqlens = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        cells = block_diagonal([seen(n, n, right=0) for n in lengths])
        yield {"theirs": cells, "cu_seqlens": cu_seqlens, "n": sum(lengths)}


@PEER.row(
    "`cu_seqlens_q`, `cu_seqlens_k`, `causal=True`",
    "packed(causal(), q_lengths, k_lengths, align='end').bind(q_len, kv_len, q_start=0)",
    note="lengths, not cumulated: `np.diff(cu_seqlens)`",
)
def unequal_lengths() -> Iterator[Case]:
    for q_lengths, k_lengths in PACKS:
        cells = block_diagonal([seen(q, k, right=0) for q, k in zip(q_lengths, k_lengths, strict=True)])
        yield {"theirs": cells, "q_lengths": q_lengths, "k_lengths": k_lengths,
               "q_len": sum(q_lengths), "kv_len": sum(k_lengths)}  # fmt: skip


@PEER.row(
    "the same with `window_size=(left, right)`",
    "packed(band(left, right), q_lengths, k_lengths, align='end').bind(q_len, kv_len, q_start=0)",
)
def unequal_lengths_window() -> Iterator[Case]:
    for (q_lengths, k_lengths), left, right in product(PACKS, SIZES, SIZES):
        cells = block_diagonal([seen(q, k, left, right) for q, k in zip(q_lengths, k_lengths, strict=True)])
        yield {"theirs": cells, "q_lengths": q_lengths, "k_lengths": k_lengths, "left": left, "right": right,
               "q_len": sum(q_lengths), "kv_len": sum(k_lengths)}  # fmt: skip


@PEER.row(
    "`cache_seqlens`, `seqused_k`, `causal=True`",
    "(causal() & padding(lengths)).bind(q_len, kv_len, q_start=[n - q_len for n in lengths])",
    note="`lengths` counts the keys of each batch row, those of this step included",
)
def caches() -> Iterator[Case]:
    for lengths, q_len in product(CACHES, (1, 2, 4)):
        cells = np.stack([padded(seen(q_len, n, right=0), 8)[None] for n in lengths])
        yield {"theirs": cells, "lengths": lengths, "q_len": q_len, "kv_len": 8}


@PEER.row(
    "the same with `window_size=(left, right)`",
    "(band(left, right) & padding(lengths)).bind(q_len, kv_len, q_start=[n - q_len for n in lengths])",
)
def caches_window() -> Iterator[Case]:
    for lengths, q_len, left, right in product(CACHES, (1, 2, 4), SIZES, SIZES):
        cells = np.stack([padded(seen(q_len, n, left, right), 8)[None] for n in lengths])
        yield {"theirs": cells, "lengths": lengths, "q_len": q_len, "kv_len": 8, "left": left, "right": right}


@PEER.row(
    "`cache_leftpad` besides",
    "(causal() & padding(lengths) & padding(starts=leftpad)).bind(q_len, kv_len, q_start=[n - q_len for n in lengths])",
)
def caches_leftpad() -> Iterator[Case]:
    for q_len, leftpad in product((1, 2), ([0, 1, 2], [1, 0, 4])):
        lengths = [4, 2, 8]
        cells = np.stack([padded(seen(q_len, n, right=0), 8)[None] for n in lengths])
        cells &= (np.arange(8) >= np.array(leftpad)[:, None])[:, None, None]
        yield {"theirs": cells, "lengths": lengths, "leftpad": leftpad, "q_len": q_len, "kv_len": 8}


@PEER.row(
    "`block_table` (paged keys)",
    "causal().bind(q_len, kv_len, q_start=kv_len - q_len).select(k=slots)",
    note="`slots = (block_table[:, None] * page + np.arange(page)).ravel()`, the key of each slot",
)
def paged() -> Iterator[Case]:
    page = 2
    for q_len, table in product((1, 3), ([0, 1, 2, 3], [3, 1, 0, 2], [2, 0])):
        block_table = np.array(table)
        kv_len = 8
        slots = (block_table[:, None] * page + np.arange(page)).ravel()
        yield {"theirs": seen(q_len, kv_len, right=0)[:, slots], "q_len": q_len, "kv_len": kv_len, "slots": slots}


@PEER.row(
    "`alibi_slopes`, (heads,) or (batch, heads)",
    "mw.attention(q, k, v, band(None, right).bind(q_len, kv_len, q_start=kv_len - q_len), bias=alibi(slopes))",
    note="-slope times the distance, with and without `causal=True`",
)
def alibi_slopes() -> Iterator[Case]:
    tables = torch.tensor([0.5, 2.0]), torch.tensor([[0.5, 2.0], [1.0, 0.25]])
    for (q_len, kv_len), slopes, right in product(GRIDS, tables, (0, None)):
        q, k, v = qkv(q_len, kv_len)
        at_q, at_k = positions(q_len, kv_len)
        distance = np.abs(at_q + kv_len - q_len - at_k)
        bias = -slopes.numpy()[..., None, None] * distance
        theirs = attend(q, k, v, seen(q_len, kv_len, right=right), bias)
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "q_len": q_len, "kv_len": kv_len, "slopes": slopes,
               "right": right}  # fmt: skip


@PEER.row(
    "`softcap`",
    "mw.attention(q, k, v, causal().bind(q_len, kv_len, q_start=kv_len - q_len), softcap=softcap)",
)
def softcaps() -> Iterator[Case]:
    for (q_len, kv_len), softcap in product(GRIDS, (0.5, 3.0, 50.0)):
        q, k, v = qkv(q_len, kv_len)
        theirs = attend(q, k, v, seen(q_len, kv_len, right=0), softcap=softcap)
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "q_len": q_len, "kv_len": kv_len, "softcap": softcap}


@PEER.row(
    "`learnable_sink`",
    "mw.attention(q, k, v, band(left, 0).bind(q_len, kv_len, q_start=kv_len - q_len), sinks=logits)",
    note="one logit for each head",
)
def sink_logits() -> Iterator[Case]:
    logits = torch.tensor([-1.0, 2.5])
    for (q_len, kv_len), left in product(GRIDS, (None, 2)):
        q, k, v = qkv(q_len, kv_len)
        theirs = attend(q, k, v, seen(q_len, kv_len, left, 0), sinks=logits.numpy())
        yield {"theirs": theirs, "q": q, "k": k, "v": v, "q_len": q_len, "kv_len": kv_len, "left": left,
               "logits": logits}  # fmt: skip


@PEER.row("GQA: fewer heads of keys", "mw.attention(q, k, v, causal().bind(n, n))")
def grouped_heads() -> Iterator[Case]:
    for n, heads in product((1, 5, 8), (2, 4)):
        q, _, _ = qkv(n, n, heads=heads)
        _, k, v = qkv(n, n, heads=2)
        spread = [x.repeat_interleave(heads // 2, dim=1) for x in (k, v)]
        yield {"theirs": attend(q, *spread, seen(n, n, right=0)), "q": q, "k": k, "v": v, "n": n}
