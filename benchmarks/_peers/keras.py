"""Keras: how `MultiHeadAttention` joins its masks, by its documentation, written here as formulas.

Embeddings with `mask_zero=True` and `Masking` hand their mask on: the layer lets real queries see real keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .table import GRIDS, Case, Peer, positions

PEER = Peer("Keras", "the formulas of its documentation")

BATCH = 2


@PEER.row("`use_causal_mask=True`", "causal().bind(q_len, kv_len, q_start=0)", note="aligned at the start")
def causal_mask() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        q, k = positions(q_len, kv_len)
        yield {"theirs": k <= q, "q_len": q_len, "kv_len": kv_len}


@PEER.row("`attention_mask`, (B, queries, keys)", "from_dense(attention_mask).bind(q_len, kv_len, q_start=0)")
def attention_masks() -> Iterator[Case]:
    for seed, (q_len, kv_len) in enumerate(GRIDS):
        mask = np.random.default_rng(seed).random((BATCH, q_len, kv_len)) < 0.5
        yield {"theirs": mask[:, None], "attention_mask": mask.astype(int), "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "`query_mask`, `value_mask` (`mask_zero=True`)",
    "(real_queries(query_mask) & real(value_mask)).bind(q_len, kv_len, q_start=0)",
    note="padded queries see nothing",
)
def implicit_masks() -> Iterator[Case]:
    for seed, (q_len, kv_len) in enumerate(GRIDS * 2):
        random = np.random.default_rng(seed)
        query_mask, value_mask = (random.random((BATCH, n)) < 0.6 for n in (q_len, kv_len))
        cells = query_mask[:, None, :, None] & value_mask[:, None, None, :]
        yield {"theirs": cells, "query_mask": query_mask, "value_mask": value_mask, "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "all of them together",
    "(causal() & real_queries(query_mask) & real(value_mask) & from_dense(attention_mask))"
    ".bind(q_len, kv_len, q_start=0)",
    shown=False,
)
def all_masks() -> Iterator[Case]:
    for seed, (q_len, kv_len) in product(range(3), GRIDS):
        random = np.random.default_rng(seed)
        query_mask, value_mask = (random.random((BATCH, n)) < 0.7 for n in (q_len, kv_len))
        attention_mask = random.random((BATCH, q_len, kv_len)) < 0.7
        q, k = positions(q_len, kv_len)
        cells = query_mask[:, None, :, None] & value_mask[:, None, None, :] & attention_mask[:, None] & (k <= q)
        yield {"theirs": cells, "query_mask": query_mask, "value_mask": value_mask, "attention_mask": attention_mask,
               "q_len": q_len, "kv_len": kv_len}  # fmt: skip
