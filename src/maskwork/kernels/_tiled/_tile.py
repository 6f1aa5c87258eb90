"""One tile of some lanes: scores, softmax and products, forward and back.

`careful` is for keys, values or gradients that hold NaN or inf. There a forbidden cell must be filtered before it is
multiplied, since 0 x NaN is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...lower import Tile
from ._bias import TileBias
from ._lanes import Masks, columns_of


@dataclass(frozen=True)
class Rules:
    """What holds for every tile of a call."""

    scale: float
    masks: Masks
    bias: TileBias | None
    dropout_p: float
    seed: int
    careful: bool

    def reaches(self, tile: Tile, p: torch.Tensor) -> torch.Tensor | None:
        """bool `(g * height, width)` where care is taken, None where it is not."""
        return self.masks.allowed(tile).repeat(p.shape[1] // tile.height, 1) if self.careful else None


class Buffers:
    """Flat memory that tiles of any shape take turns in."""

    def __init__(self, like: torch.Tensor) -> None:
        self.like = like
        self.flat: dict[str, torch.Tensor] = {}

    def get(self, name: str, *shape: int) -> torch.Tensor:
        """Uninitialised memory of that shape, contiguous."""
        size = 1
        for n in shape:
            size *= n
        flat = self.flat.get(name)
        if flat is None or flat.numel() < size:
            flat = self.flat[name] = self.like.new_empty(size)
        return flat[:size].view(shape)


def read(x: torch.Tensor, tile: Tile) -> torch.Tensor:
    """`(n, K, D)` -> `(n, width, D)`: a view where the keys are one slice, else copied together."""
    if len(tile.keys) > 1:
        return torch.cat([x[:, keys] for keys in tile.keys], dim=1)
    keys = tile.keys[0]
    return x[:, keys] if isinstance(keys, slice) else x.index_select(1, keys)


def add_to_keys(out: torch.Tensor, tile: Tile, values: torch.Tensor) -> None:
    """Adds `(n, width, D)` to the tile's keys of `(n, K, D)`."""
    for keys, columns in columns_of(tile):
        if isinstance(keys, slice):
            out[:, keys] += values[:, columns]
        else:
            out.index_add_(1, keys, values[:, columns])


def weights(
    rules: Rules, tile: Tile, part: slice, q: torch.Tensor, k: torch.Tensor, out: torch.Tensor, lse: torch.Tensor | None
) -> None:
    """Attention weights of `q (n, g * height, D)` over `k (n, width, D)`.

    They go to `out (n, g * height, width)`, and the scores' log-sum-exp, where wanted, to `lse (n, g * height)`.
    """
    torch.baddbmm(out, q, k.transpose(1, 2), beta=0, alpha=rules.scale, out=out)
    by_head = out.unflatten(1, (-1, tile.height))
    if rules.bias is not None:
        by_head += rules.bias.of(tile)[part]
    if rules.careful:
        by_head.masked_fill_(~rules.masks.allowed(tile), float("-inf"))
    elif tile.pattern >= 0:
        mask, at = rules.masks.additive(tile.pattern, out.dtype), 0
        for columns in tile.masked:
            size = columns.stop - columns.start
            by_head[..., columns] += mask[:, at : at + size]
            at += size
    largest = out.amax(-1) if lse is not None else None
    torch.softmax(out, -1, out=out)
    if lse is not None and largest is not None:
        # the largest weight is exp(largest - lse)
        torch.sub(largest, out.amax(-1).log_(), out=lse)
    if rules.careful:
        by_head.masked_fill_(~rules.masks.allowed(tile), 0.0)


def keep(rules: Rules, number: int, part: slice, like: torch.Tensor) -> torch.Tensor | None:
    """0 or 1 / (1 - p) for each weight, the same on every call for the same tile and lanes."""
    if not rules.dropout_p:
        return None
    generator = torch.Generator().manual_seed((rules.seed + 0x9E3779B97F4A7C15 * (number + 1) + part.start) % 2**63)
    kept = torch.empty_like(like).bernoulli_(1.0 - rules.dropout_p, generator=generator)
    return kept.div_(1.0 - rules.dropout_p)


def weighted_sum(rules: Rules, tile: Tile, p: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
    """`p @ v` into `out (n, g * height, Dv)`."""
    _product(p, v, 1.0, rules.reaches(tile, p), out)


def backward(
    rules: Rules, tile: Tile, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, p: torch.Tensor,
    kept: torch.Tensor | None, d_out: torch.Tensor, d_lse: torch.Tensor | None, buffers: Buffers,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of one tile: of q, of its keys, of its values, and of the scores, in buffers.

    Args:
        q, k, v: `(n, g * height, D)`, `(n, width, D)` and `(n, width, Dv)`.
        p: the weights, before dropout.
        kept: what dropout multiplied them with.
        d_out: `(n, g * height, Dv)`.
        d_lse: `(n, g * height)` or None.
    """
    allowed = rules.reaches(tile, p)
    turned = None if allowed is None else allowed.T
    d_v = buffers.get("d_v", *v.shape)
    _product((p if kept is None else p * kept).transpose(1, 2), d_out, 1.0, turned, d_v)
    d_s = buffers.get("d_s", *p.shape)
    torch.bmm(d_out, v.transpose(1, 2), out=d_s)
    if kept is not None:
        d_s *= kept
    if allowed is not None:
        d_s.masked_fill_(~allowed, 0.0)
    torch.ops.aten._softmax_backward_data.out(d_s, p, -1, p.dtype, grad_input=d_s)
    if d_lse is not None:
        d_s.addcmul_(p, d_lse.unsqueeze(-1))
    if allowed is not None:
        d_s.masked_fill_(~allowed, 0.0)
    d_q, d_k = buffers.get("d_q", *q.shape), buffers.get("d_k", *k.shape)
    _product(d_s, k, rules.scale, allowed, d_q)
    _product(d_s.transpose(1, 2), q, rules.scale, turned, d_k)
    return d_q, d_k, d_v, d_s


def _product(a: torch.Tensor, b: torch.Tensor, scale: float, allowed: torch.Tensor | None, out: torch.Tensor) -> None:
    """`scale * a @ b` into contiguous `out`; with `allowed`, no row of b reaches a row of a that may not see it."""
    if allowed is None:
        torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)
        return
    bad = ~b.isfinite().all(-1)
    torch.baddbmm(out, a, b.masked_fill(bad.unsqueeze(-1), 0.0), beta=0, alpha=scale, out=out)
    for j in bad.any(0).nonzero().flatten().tolist():
        reaches = (allowed[:, j] & bad[:, j, None]).unsqueeze(-1)
        out += (a[:, :, j, None] * b[:, None, j] * scale).where(reaches, 0.0)
