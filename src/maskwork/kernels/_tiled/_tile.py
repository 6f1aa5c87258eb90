"""One tile of some lanes: scores, softmax and products, forward and back.

`careful` is for keys, values or gradients that hold NaN or inf. There a forbidden cell must be filtered before it is
multiplied, since 0 x NaN is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...lower import Tile
from ._bias import TileBias
from ._lanes import Lanes, Masks, columns_of, take_keys, take_rows


@dataclass(frozen=True)
class Rules:
    """What holds for every tile of a call."""

    scale: float
    masks: Masks
    bias: TileBias | None
    dropout_p: float
    seed: int
    careful: bool


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


def weights(rules: Rules, tile: Tile, part: slice, lanes: Lanes, out: torch.Tensor, lse: torch.Tensor | None) -> None:
    """Attention weights `(n, g * height, width)` into `out`; the scores' log-sum-exp `(n, g * height)` into `lse`."""
    n, groups = lanes.q.shape[:2]
    q = take_rows(lanes.q, tile.rows)
    for keys, columns in columns_of(tile):
        here = out if len(tile.keys) == 1 else out[:, :, columns]
        k = take_keys(lanes.k, keys).transpose(1, 2)
        torch.baddbmm(here, q, k, beta=0, alpha=rules.scale, out=here)
    by_head = out.view(n, groups, tile.height, tile.width)
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


def weighted_sum(rules: Rules, tile: Tile, lanes: Lanes, p: torch.Tensor, out: torch.Tensor) -> None:
    """`p @ v` into `out (n, g * height, Dv)`."""
    for keys, columns in columns_of(tile):
        beta = 0 if columns.start == 0 else 1
        _add_product(out, p[:, :, columns], take_keys(lanes.v, keys), beta, 1.0, _allowed(rules, tile, lanes, columns))


def backward(
    rules: Rules, tile: Tile, lanes: Lanes, p: torch.Tensor, kept: torch.Tensor | None, d_out: torch.Tensor,
    d_lse: torch.Tensor | None, d_p: torch.Tensor, d_q: torch.Tensor, d_k: torch.Tensor, d_v: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Gradients of one tile: into `d_q (n, g * height, D)`; added to `d_k (n, K, D)` and `d_v (n, K, Dv)`.

    Args:
        p: the weights, before dropout.
        kept: what dropout multiplied them with.
        d_out: `(n, g * height, Dv)`.
        d_lse: `(n, g * height)` or None.
        d_p: memory like `p`, which is returned full of the scores' gradients.
    """
    dropped = p if kept is None else p * kept
    for keys, columns in columns_of(tile):
        here = d_p if len(tile.keys) == 1 else d_p[:, :, columns]
        torch.bmm(d_out, take_keys(lanes.v, keys).transpose(1, 2), out=here)
        allowed = _allowed(rules, tile, lanes, columns)
        _add_to_keys(d_v, keys, dropped[:, :, columns].transpose(1, 2), d_out, 1.0, _turned(allowed))
    if kept is not None:
        d_p *= kept
    if rules.careful:
        whole = _allowed(rules, tile, lanes, slice(0, tile.width))
        assert whole is not None
        d_p.masked_fill_(~whole, 0.0)
    torch.ops.aten._softmax_backward_data.out(d_p, p, -1, p.dtype, grad_input=d_p)
    if d_lse is not None:
        d_p.addcmul_(p, d_lse.unsqueeze(-1))
    if rules.careful:
        d_p.masked_fill_(~whole, 0.0)
    q = take_rows(lanes.q, tile.rows)
    for keys, columns in columns_of(tile):
        here, allowed = d_p[:, :, columns], _allowed(rules, tile, lanes, columns)
        _add_product(d_q, here, take_keys(lanes.k, keys), 0 if columns.start == 0 else 1, rules.scale, allowed)
        _add_to_keys(d_k, keys, here.transpose(1, 2), q, rules.scale, _turned(allowed))
    return d_p


def _add_to_keys(
    out: torch.Tensor, keys: slice | torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float,
    allowed: torch.Tensor | None,
) -> None:  # fmt: skip
    if isinstance(keys, slice):
        _add_product(out[:, keys], a, b, 1, scale, allowed)
    else:
        product = out.new_empty(a.shape[0], a.shape[1], b.shape[2])
        _add_product(product, a, b, 0, scale, allowed)
        out.index_add_(1, keys, product)


def _add_product(
    out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, beta: int, scale: float, allowed: torch.Tensor | None
) -> None:
    """`out = beta * out + scale * a @ b`; with `allowed`, no row of b reaches a row of a that may not see it."""
    if allowed is None:
        torch.baddbmm(out, a, b, beta=beta, alpha=scale, out=out)
        return
    bad = ~b.isfinite().all(-1)
    torch.baddbmm(out, a, b.masked_fill(bad.unsqueeze(-1), 0.0), beta=beta, alpha=scale, out=out)
    for j in bad.any(0).nonzero().flatten().tolist():
        reaches = (allowed[:, j] & bad[:, j, None]).unsqueeze(-1)
        out += (a[:, :, j, None] * b[:, None, j] * scale).where(reaches, 0.0)


def _allowed(rules: Rules, tile: Tile, lanes: Lanes, columns: slice) -> torch.Tensor | None:
    """bool `(g * height, columns)` where care is taken, None where it is not."""
    return rules.masks.allowed(tile)[:, columns].repeat(lanes.q.shape[1], 1) if rules.careful else None


def _turned(allowed: torch.Tensor | None) -> torch.Tensor | None:
    return None if allowed is None else allowed.T
