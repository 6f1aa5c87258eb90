"""The tensors of one call seen as independent lanes: each a key head with the query heads that share it."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Lanes(NamedTuple):
    """What tiles work on: `q (N, g, Q, D)`, `k (N, K, D)`, `v (N, K, Dv)`, g query heads a key head."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor


def query_lanes(x: torch.Tensor, kv_heads: int, batch: int, head: int) -> torch.Tensor:
    """`(B, Hq, ...)` -> `(N, g, ...)` of this batch row and query head, -1 for all; a view where strides allow."""
    grouped = x.unflatten(1, (kv_heads, -1))
    if head >= 0:
        groups = grouped.shape[2]
        grouped = grouped[:, head // groups, head % groups].unsqueeze(1).unsqueeze(1)
    if batch >= 0:
        return grouped[batch]
    return grouped.squeeze(1) if grouped.shape[1] == 1 else grouped.flatten(0, 1)


def key_lanes(x: torch.Tensor, query_heads: int, batch: int, head: int) -> torch.Tensor:
    """`(B, Hkv, K, D)` -> `(N, K, D)`, likewise."""
    if head >= 0:
        x = x.narrow(1, head // (query_heads // x.shape[1]), 1)
    if batch >= 0:
        return x[batch]
    return x.squeeze(1) if x.shape[1] == 1 else x.flatten(0, 1)
