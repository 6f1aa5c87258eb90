"""FlexAttention: `mask_mod`, `create_block_mask` and `score_mod`, and attention-gym's masks, as they are installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch.nn.attention.flex_attention import and_masks, create_block_mask, create_mask, flex_attention, or_masks

from .table import GRIDS, Case, Peer, qkv

PEER = Peer("FlexAttention", f"itself, {torch.__version__.partition('+')[0]}")

BATCH, HEADS = 2, 4
IDS = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 2, 2, 2, 2, 3]])
WIDTHS = torch.tensor([2, 2, 5, 5])
MaskMod = Callable[..., torch.Tensor]


def _causal(b: Any, h: Any, q: Any, k: Any) -> Any:
    return q >= k


def _local(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (q - k).abs() <= 2


def _prefix(b: Any, h: Any, q: Any, k: Any) -> Any:
    return k < 3


def _flex(*arguments: Any, **options: Any) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the call is not compiled
        return flex_attention(*arguments, **options)


@PEER.row("`mask_mod(b, h, q_idx, kv_idx)`", "custom(mask_mod).bind(q_len, kv_len, q_start=0)")
def mask_mods() -> Iterator[Case]:
    for (q_len, kv_len), mask_mod in product(GRIDS, (_causal, _local, _prefix)):
        theirs = create_mask(mask_mod, 1, 1, q_len, kv_len, device="cpu")
        yield {"theirs": theirs, "mask_mod": mask_mod, "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "one that reads `b`",
    "custom(mask_mod).bind(q_len, kv_len, q_start=0)",
    note="as many batch rows as a table that the function indexes with `b` has entries, or `batch=`",
)
def by_batch_row() -> Iterator[Case]:
    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (IDS[b, q] == IDS[b, k]) & (q >= k)

    for q_len, kv_len in GRIDS:
        theirs = create_mask(mask_mod, BATCH, 1, q_len, kv_len, device="cpu")
        yield {"theirs": theirs, "mask_mod": mask_mod, "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "one that reads `h`",
    "custom(mask_mod).bind(q_len, kv_len, q_start=0)",
    note="likewise, or `heads=`; also where the first heads agree (grouped heads)",
)
def by_head() -> Iterator[Case]:
    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q >= k) & (q - k < WIDTHS[h])

    for q_len, kv_len in GRIDS:
        theirs = create_mask(mask_mod, 1, HEADS, q_len, kv_len, device="cpu")
        yield {"theirs": theirs, "mask_mod": mask_mod, "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "one that reads `h` without a table",
    "custom(mask_mod, heads=4).bind(q_len, kv_len, q_start=0)",
    note="`mw.attention` takes the number from its tensors",
)
def by_head_number() -> Iterator[Case]:
    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q >= k) & ((h < 2) | (q - k < h))

    for q_len, kv_len in GRIDS:
        theirs = create_mask(mask_mod, 1, HEADS, q_len, kv_len, device="cpu")
        yield {"theirs": theirs, "mask_mod": mask_mod, "q_len": q_len, "kv_len": kv_len}


@PEER.row("`and_masks(f, g)`", "(custom(f) & custom(g)).bind(q_len, kv_len, q_start=0)")
def both() -> Iterator[Case]:
    for (q_len, kv_len), (f, g) in product(GRIDS, [(_causal, _local), (_local, _prefix)]):
        theirs = create_mask(and_masks(f, g), 1, 1, q_len, kv_len, device="cpu")
        yield {"theirs": theirs, "f": f, "g": g, "q_len": q_len, "kv_len": kv_len}


@PEER.row("`or_masks(f, g)`", "(custom(f) | custom(g)).bind(q_len, kv_len, q_start=0)")
def either() -> Iterator[Case]:
    for (q_len, kv_len), (f, g) in product(GRIDS, [(_causal, _prefix), (_local, _prefix)]):
        theirs = create_mask(or_masks(f, g), 1, 1, q_len, kv_len, device="cpu")
        yield {"theirs": theirs, "f": f, "g": g, "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "`create_block_mask(mask_mod, …)`",
    "lower.to_block_mask(causal().bind(q_len, kv_len, q_start=0), block_size=size).to_dense()",
    why="the table of ours has room for more blocks, which are empty: 8 where torch has 5",
    note="evaluates no cell where the mask is written in atoms",
)
def block_masks() -> Iterator[Case]:
    for q_len, kv_len, size in product((1, 16, 40), (16, 33, 40), (8, 16)):
        theirs = create_block_mask(_causal, None, None, q_len, kv_len, device="cpu", BLOCK_SIZE=size).to_dense()
        yield {"theirs": theirs, "q_len": q_len, "kv_len": kv_len, "size": size}


@PEER.row(
    "`score_mod`: score - slope · (q - k), with a mask",
    "mw.attention(q, k, v, causal(), q_start=0, bias=alibi(slopes))",
)
def alibi_score_mod() -> Iterator[Case]:
    slopes = torch.tensor([0.5, 0.125])

    def score_mod(score: Any, b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        return torch.where(q_idx >= kv_idx, score - slopes[h] * (q_idx - kv_idx), -float("inf"))

    for q_len, kv_len in GRIDS:
        q, k, v = qkv(q_len, kv_len)
        yield {"theirs": _flex(q, k, v, score_mod), "q": q, "k": k, "v": v, "slopes": slopes}


@PEER.row(
    "`score_mod`: soft-capping, attention-gym's `generate_tanh_softcap`",
    "mw.attention(q, k, v, causal(), q_start=0, softcap=softcap)",
)
def softcap_score_mod() -> Iterator[Case]:
    for (q_len, kv_len), softcap in product(GRIDS, (1.0, 20.0)):

        def score_mod(score: Any, b: Any, h: Any, q_idx: Any, kv_idx: Any, cap: float = softcap) -> Any:
            return torch.where(q_idx >= kv_idx, cap * torch.tanh(score / cap), -float("inf"))

        q, k, v = qkv(q_len, kv_len)
        yield {"theirs": _flex(q, k, v, score_mod), "q": q, "k": k, "v": v, "softcap": softcap}


@PEER.row("`enable_gqa=True`", "mw.attention(q, k, v, causal(), q_start=0)", shown=False)
def grouped() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        q, k, v = qkv(q_len, kv_len, heads=4)
        k, v = k[:, :2], v[:, :2]
        mask = create_block_mask(_causal, None, None, q_len, kv_len, device="cpu")
        theirs = _flex(q, k, v, block_mask=mask, enable_gqa=True)
        yield {"theirs": theirs, "q": q, "k": k, "v": v}
