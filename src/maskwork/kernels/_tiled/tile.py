"""One tile of some lanes: scores, weights and products, forward and back.

Weights are `exp(score)`, with nothing taken off: the products with the values are divided by the row's sum afterwards,
on far fewer numbers. That saves a quarter of the time that a softmax takes, and is exact while no sum comes near
float32's range, which is looked at afterwards. Where one does, a tile is `steady`: an ordinary softmax.

`careful` is for keys, values or gradients that hold NaN or inf. There a forbidden cell must be filtered before it is
multiplied, since 0 x NaN is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .batches import Batch
from .bias import TileBias
from .masks import Masks
from .schedule import Tile

#: Log-sum-exps within it are far from overflow and from losing terms, or small gradients, to underflow.
SAFE_LSE = 32.0

_LOG2_E = math.log2(math.e)


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
        size = math.prod(shape)
        flat = self.flat.get(name)
        if flat is None or flat.numel() < size:
            flat = self.flat[name] = self.like.new_empty(size)
        return flat[:size].view(shape)


def weights(
    rules: Rules, batch: Batch, q: torch.Tensor, k: Sequence[torch.Tensor], out: torch.Tensor, steady: bool
) -> torch.Tensor | None:
    """`exp(score)` of queries and keys into `out (n, g * height, width)`.

    `q` is `(n, g * height, D)`, and `k` is `(n, width, D)` in one or more pieces. With `steady` it is a softmax of the
    scores, and their log-sum-exp `(n, g * height)` is returned.
    """
    tile = batch.tile
    unit = 1.0 if steady else _LOG2_E  # exp2 has a faster kernel than exp
    if len(k) == 1:
        torch.baddbmm(out, q, k[0].transpose(1, 2), beta=0, alpha=rules.scale * unit, out=out)
    else:
        for piece, here in zip(k, out.split([piece.shape[1] for piece in k], -1), strict=True):
            torch.mul(torch.bmm(q, piece.transpose(1, 2)), rules.scale * unit, out=here)
    by_head = out if q.shape[1] == tile.height else out.unflatten(1, (-1, tile.height))
    if rules.bias is not None:
        assert not batch.along, "a bias differs from one repeat of a tile to the next"
        bias = rules.bias.of(tile, slice(batch.first, batch.first + batch.n))
        by_head.add_(bias if by_head.ndim == 4 else bias.squeeze(1), alpha=unit)
    if rules.careful or rules.bias is not None:  # what is forbidden may hold NaN or inf
        by_head.masked_fill_(~rules.masks.allowed(tile), float("-inf"))
    else:
        for columns, mask in rules.masks.additive(tile, out.dtype):
            by_head.narrow(-1, columns.start, columns.stop - columns.start).add_(mask)
    if not steady:
        torch.exp2(out, out=out)
        return None
    largest = out.amax(-1)
    torch.softmax(out, -1, out=out)
    # the largest weight is exp(largest - lse)
    lse = largest - out.amax(-1).log_()
    if rules.careful:
        by_head.masked_fill_(~rules.masks.allowed(tile), 0.0)
    blank = largest == float("-inf")  # a bias can hide all that the mask allows
    if blank.any():
        out.masked_fill_(blank.unsqueeze(-1), 0.0)
        lse.masked_fill_(blank, float("-inf"))
    return lse


def keep(rules: Rules, batch: Batch, like: torch.Tensor) -> torch.Tensor | None:
    """0 or 1 / (1 - p) for each weight, the same on every call for the same tile and lanes."""
    if not rules.dropout_p:
        return None
    mixed = rules.seed
    for value in (batch.number, batch.lane if batch.along else batch.first):
        mixed = (mixed * 0x5851F42D4C957F2D + value + 0x14057B7EF767814F) % 2**63  # Knuth's MMIX step
    generator = torch.Generator().manual_seed(mixed)
    kept = torch.empty_like(like).bernoulli_(1.0 - rules.dropout_p, generator=generator)
    return kept.div_(1.0 - rules.dropout_p)


def forward(
    rules: Rules, batch: Batch, q: torch.Tensor, k: Sequence[torch.Tensor], v: Sequence[torch.Tensor], steady: bool,
    buffers: Buffers,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Weighted sums `(n, g * height, Dv)`, and the sum of each row's weights `(n, g * height)` to divide them by.

    With `steady` they are divided already, and what is returned beside them is the log-sum-exp.
    """
    p = buffers.get("weights", *q.shape[:2], batch.tile.width)
    lse = weights(rules, batch, q, k, p, steady)
    total = torch.sum(p, -1) if lse is None else lse
    kept = keep(rules, batch, p)
    if kept is not None:
        p *= kept
    out = buffers.get("out", *q.shape[:2], v[0].shape[2])
    allowed, at = rules.reaches(batch.tile, p), 0
    for piece in v:
        size = piece.shape[1]
        here = out if at == 0 else torch.empty_like(out)
        seen = None if allowed is None else allowed[:, at : at + size]
        _product(p.narrow(2, at, size), piece, 1.0, seen, here)
        if at:
            out += here
        at += size
    return out, total


def backward(
    rules: Rules, batch: Batch, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
    out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None, steady: bool,
    buffers: Buffers,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of a tile's queries, keys and values, shaped like them, and of its scores, in buffers.

    Args:
        out, lse, d_out, d_lse: what `forward` gave for these rows, and the gradients that came back.
        steady: whether weights are a softmax, or exp(score) and want dividing by exp(lse).
    """
    p = buffers.get("weights", *q.shape[:2], batch.tile.width)
    weights(rules, batch, q, [k], p, steady)
    kept = keep(rules, batch, p)
    allowed = rules.reaches(batch.tile, p)
    turned = None if allowed is None else allowed.T
    # p / exp(lse) are the weights; it is d_out that is divided, a few numbers a row
    d_rows = d_out if steady else d_out * torch.exp(-lse).unsqueeze(-1)
    shift = (d_rows * out).sum(-1, keepdim=True)
    if d_lse is not None:
        shift -= (d_lse if steady else d_lse * torch.exp(-lse)).unsqueeze(-1)
    if rules.careful:
        shift.masked_fill_((lse == float("-inf")).unsqueeze(-1), 0.0)
    d_v = buffers.get("d_v", *v.shape)
    _product((p if kept is None else p * kept).transpose(1, 2), d_rows, 1.0, turned, d_v)
    d_s = buffers.get("d_s", *p.shape)
    torch.bmm(d_rows, v.transpose(1, 2), out=d_s)
    if kept is not None:
        d_s *= kept
    d_s.sub_(shift).mul_(p)
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
    good = b.isfinite()
    torch.baddbmm(out, a, b.where(good, 0.0), beta=0, alpha=scale, out=out)
    if good.all():
        return
    # What the others add is inf, -inf or NaN, by the rules of a * b; products count whether there is any of each.
    above, below = (b == math.inf).to(b.dtype), (b == -math.inf).to(b.dtype)
    up, down, neither = ((x & allowed).to(a.dtype) for x in (a * scale > 0, a * scale < 0, a * scale == 0))
    undefined = allowed.to(a.dtype) @ b.isnan().to(b.dtype) + neither @ (above + below)
    out += torch.zeros_like(out).masked_fill_((up @ above + down @ below) > 0, math.inf)
    out += torch.zeros_like(out).masked_fill_((up @ below + down @ above) > 0, -math.inf)
    out.masked_fill_(undefined > 0, math.nan)
