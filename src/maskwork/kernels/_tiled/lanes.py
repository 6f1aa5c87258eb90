"""Lanes: the tensors of one call as independent problems, each a key head with the query heads that share it.

    q (B, Hq, Q, D), Hq = 4         lane 0 of batch row 0: query heads 0 and 1 against key head 0
    k (B, Hkv, K, D), Hkv = 2       lane 1 of batch row 0: query heads 2 and 3 against key head 1   -> N = 2 B, g = 2

A part of a schedule that belongs to one batch row or head has that row's or head's lanes alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Lanes(NamedTuple):
    """Inputs of the tiles.

    Attributes:
        q: `(N, g, Q, D)`, g query heads for each key head.
        k: `(N, K, D)`.
        v: `(N, K, Dv)`.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor


def query_lanes(x: torch.Tensor, kv_heads: int, batch: int, head: int) -> torch.Tensor:
    """Return `(B, Hq, ...)` as `(N, g, ...)`, a view where strides allow.

    Args:
        x: one entry for each query head.
        kv_heads: Hkv.
        batch, head: the batch row and the query head, -1 = all.
    """
    grouped = x.unflatten(1, (kv_heads, -1))
    if head >= 0:
        groups = grouped.shape[2]
        grouped = grouped[:, head // groups, head % groups].unsqueeze(1).unsqueeze(1)
    if batch >= 0:
        return grouped[batch]
    return grouped.squeeze(1) if grouped.shape[1] == 1 else grouped.flatten(0, 1)


def key_lanes(x: torch.Tensor, query_heads: int, batch: int, head: int) -> torch.Tensor:
    """Return `(B, Hkv, K, D)` as `(N, K, D)`, a view where strides allow; `batch` and `head` as in `query_lanes`."""
    if head >= 0:
        x = x.narrow(1, head // (query_heads // x.shape[1]), 1)
    if batch >= 0:
        return x[batch]
    return x.squeeze(1) if x.shape[1] == 1 else x.flatten(0, 1)
