"""One batch of equal tiles: scores, weights and products, forward and backward.

By default, weights are `exp(score)` without a subtracted maximum, and the products with the values are divided by the
row's sum afterwards, on far fewer numbers. That saves a quarter of a softmax's time, and is exact while no sum comes
near the ends of float32's range, which is checked afterwards. Otherwise a tile uses a `safe_softmax`, which subtracts
the row maximum.

With `nan_safe`, keys, values or gradients may hold NaN or inf. Forbidden cells are then masked before the
multiplication, since 0 x NaN is NaN.

    q (n, g h, D)  k (n, w, D)                 n tiles, g query heads, h rows, w columns
          |            |
          scores (n, g h, w) = scale q k^T (bounded by the softcap) + bias, masked
          |
          p = exp(scores)              total = p.sum(-1)              lse = log(total)
          |
          out (n, g h, Dv) = p v / total

Backward, with p divided by total: d_v = p^T d_out, d_p = d_out v^T, d_scores = p (d_p - rowsum(d_out out)),
d_q = scale d_scores k, d_k = scale d_scores^T q.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .batches import TileBatch
from .bias import TileBias
from .masks import Masks
from .schedule import Tile

#: Log-sum-exps of a smaller size are far from overflow, and from losing terms or small gradients to underflow.
SAFE_LSE = 32.0

_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Rules:
    """Settings of all tiles of a call.

    Attributes:
        scale: factor on the scores.
        softcap: bound on the scaled scores, `softcap * tanh(score / softcap)`; 0 = no bound.
        masks: of the schedule.
        bias: added to the scores, None = no bias.
        dropout_p: chance that a weight is dropped.
        seed: of the dropout.
        nan_safe: whether forbidden cells are masked before each multiplication.
    """

    scale: float
    softcap: float
    masks: Masks
    bias: TileBias | None
    dropout_p: float
    seed: int
    nan_safe: bool

    def allowed(self, tile: Tile, p: torch.Tensor) -> torch.Tensor | None:
        """Return bool `(g * height, width)` for weights `p` if the call is `nan_safe`, else None."""
        return self.masks.allowed(tile).repeat(p.shape[1] // tile.height, 1) if self.nan_safe else None


class Buffers:
    """Memory that all tiles reuse, one flat allocation for each name, which grows to the largest tile."""

    def __init__(self, like: torch.Tensor) -> None:
        self.like = like
        self.flat: dict[str, torch.Tensor] = {}

    def get(self, name: str, *shape: int) -> torch.Tensor:
        """Return uninitialised contiguous memory of that shape; it overwrites the last tensor of that name."""
        size = math.prod(shape)
        flat = self.flat.get(name)
        if flat is None or flat.numel() < size:
            flat = self.flat[name] = self.like.new_empty(size)
        return flat[:size].view(shape)


def weights(
    rules: Rules, batch: TileBatch, q: torch.Tensor, k: Sequence[torch.Tensor], out: torch.Tensor, safe_softmax: bool,
    slope: torch.Tensor | None = None,
) -> torch.Tensor | None:  # fmt: skip
    """Compute the weights of queries and keys in `out`.

    Args:
        rules, batch: settings, and the tiles.
        q: `(n, g * height, D)`.
        k: `(n, width, D)`, in one or more pieces.
        out: `(n, g * height, width)`; `exp(score)`, or with `safe_softmax` the softmax of the scores.
        safe_softmax: whether the row maximum is subtracted.
        slope: filled with the derivative of the bounded scores by the scaled ones, `1 - tanh(...)^2`.

    Returns:
        the log-sum-exp `(n, g * height)` with `safe_softmax`, else None.
    """
    tile = batch.tile
    unit = 1.0 if safe_softmax else _LOG2_E  # exp2 has a faster kernel than exp
    factor = rules.scale / rules.softcap if rules.softcap else rules.scale * unit
    if len(k) == 1:
        torch.baddbmm(out, q, k[0].transpose(1, 2), beta=0, alpha=factor, out=out)
    else:
        for piece, scores in zip(k, out.split([piece.shape[1] for piece in k], -1), strict=True):
            torch.mul(torch.bmm(q, piece.transpose(1, 2)), factor, out=scores)
    if rules.softcap:
        out.tanh_()
        if slope is not None:
            torch.addcmul(torch.ones_like(out), out, out, value=-1, out=slope)
        out.mul_(rules.softcap * unit)
    by_head = out if q.shape[1] == tile.height else out.unflatten(1, (-1, tile.height))
    if rules.bias is not None:
        assert not batch.along, "a bias differs from one repeat of a tile to the next"
        bias = rules.bias.read(tile, slice(batch.first, batch.first + batch.n))
        by_head.add_(bias if by_head.ndim == 4 else bias.squeeze(1), alpha=unit)
    if rules.nan_safe or rules.bias is not None:  # a forbidden cell may hold NaN or inf
        by_head.masked_fill_(~rules.masks.allowed(tile), float("-inf"))
    else:
        for columns, mask in rules.masks.additive(tile, out.dtype):
            by_head.narrow(-1, columns.start, columns.stop - columns.start).add_(mask)
    if not safe_softmax:
        torch.exp2(out, out=out)
        return None
    largest = out.amax(-1)
    torch.softmax(out, -1, out=out)
    # the largest weight is exp(largest - lse)
    lse = largest - out.amax(-1).log_()
    if rules.nan_safe:
        by_head.masked_fill_(~rules.masks.allowed(tile), 0.0)
    empty = largest == float("-inf")  # a bias can hide all keys that the mask allows
    if empty.any():
        out.masked_fill_(empty.unsqueeze(-1), 0.0)
        lse.masked_fill_(empty, float("-inf"))
    return lse


def dropout_factors(rules: Rules, batch: TileBatch, like: torch.Tensor) -> torch.Tensor | None:
    """Return 0 or 1 / (1 - p) for each weight: the same forward and backward, None without dropout.

    The seed of a batch follows from the call's seed and the batch's place in the schedule alone.
    """
    if not rules.dropout_p:
        return None
    mixed = rules.seed
    for value in (batch.number, batch.lane if batch.along else batch.first):
        mixed = (mixed * 0x5851F42D4C957F2D + value + 0x14057B7EF767814F) % 2**63  # Knuth's MMIX step
    generator = torch.Generator().manual_seed(mixed)
    factors = torch.empty_like(like).bernoulli_(1.0 - rules.dropout_p, generator=generator)
    return factors.div_(1.0 - rules.dropout_p)


def forward(
    rules: Rules, batch: TileBatch, q: torch.Tensor, k: Sequence[torch.Tensor], v: Sequence[torch.Tensor],
    safe_softmax: bool, buffers: Buffers,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Compute weighted sums `(n, g * height, Dv)`, and the sum of each row's weights `(n, g * height)`.

    The caller divides the one by the other. With `safe_softmax`, the sums are already divided, and the second result is
    the log-sum-exp.
    """
    p = buffers.get("weights", *q.shape[:2], batch.tile.width)
    lse = weights(rules, batch, q, k, p, safe_softmax)
    total = torch.sum(p, -1) if lse is None else lse
    factors = dropout_factors(rules, batch, p)
    if factors is not None:
        p *= factors
    out = buffers.get("out", *q.shape[:2], v[0].shape[2])
    allowed, first = rules.allowed(batch.tile, p), 0
    for piece in v:
        size = piece.shape[1]
        # The first piece is written into `out`, later pieces are added.
        product = out if first == 0 else torch.empty_like(out)
        allowed_piece = None if allowed is None else allowed[:, first : first + size]
        _product(p.narrow(2, first, size), piece, 1.0, allowed_piece, product)
        if first:
            out += product
        first += size
    return out, total


def backward(
    rules: Rules, batch: TileBatch, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor,
    out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor, d_lse: torch.Tensor | None, safe_softmax: bool,
    buffers: Buffers,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Compute the gradients of queries, keys and values, shaped like them, and of the scores, in `buffers`.

    Args:
        rules, batch: settings, and the tiles.
        q, k, v: inputs of `forward`, in one piece each.
        out, lse: results of the call for these rows, `(n, g * height, Dv)` and `(n, g * height)`.
        d_out, d_lse: their gradients; `d_lse` None = zero.
        safe_softmax: True: recomputed weights are a softmax. False: they are `exp(score)`, to be divided by `exp(lse)`.
        buffers: memory of the results, which the next batch overwrites.
    """
    p = buffers.get("weights", *q.shape[:2], batch.tile.width)
    slope = buffers.get("slope", *p.shape) if rules.softcap else None
    weights(rules, batch, q, [k], p, safe_softmax, slope)
    factors = dropout_factors(rules, batch, p)
    allowed = rules.allowed(batch.tile, p)
    transposed = None if allowed is None else allowed.T
    # The weights are p / exp(lse). Dividing d_out instead touches fewer numbers.
    d_rows = d_out if safe_softmax else d_out * torch.exp(-lse).unsqueeze(-1)
    shift = (d_rows * out).sum(-1, keepdim=True)
    if d_lse is not None:
        shift -= (d_lse if safe_softmax else d_lse * torch.exp(-lse)).unsqueeze(-1)
    if rules.nan_safe:
        shift.masked_fill_((lse == float("-inf")).unsqueeze(-1), 0.0)
    d_v = buffers.get("d_v", *v.shape)
    _product((p if factors is None else p * factors).transpose(1, 2), d_rows, 1.0, transposed, d_v)
    d_s = buffers.get("d_s", *p.shape)
    torch.bmm(d_rows, v.transpose(1, 2), out=d_s)
    if factors is not None:
        d_s *= factors
    d_s.sub_(shift).mul_(p)
    if allowed is not None:
        d_s.masked_fill_(~allowed, 0.0)
    d_q, d_k = buffers.get("d_q", *q.shape), buffers.get("d_k", *k.shape)
    d_products = d_s
    if slope is not None:  # the bias is added after the bound: its gradient is that of the bounded scores
        d_products = torch.mul(d_s, slope, out=slope)
        if allowed is not None:
            d_products.masked_fill_(~allowed, 0.0)
    _product(d_products, k, rules.scale, allowed, d_q)
    _product(d_products.transpose(1, 2), q, rules.scale, transposed, d_k)
    return d_q, d_k, d_v, d_s


def _product(a: torch.Tensor, b: torch.Tensor, scale: float, allowed: torch.Tensor | None, out: torch.Tensor) -> None:
    """Compute `scale * a @ b` in contiguous `out`; with `allowed`, row j of b only reaches rows of a that see j."""
    if allowed is None:
        torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)
        return
    finite = b.isfinite()
    torch.baddbmm(out, a, b.where(finite, 0.0), beta=0, alpha=scale, out=out)
    if finite.all():
        return
    # The other numbers of b add inf, -inf or NaN, by the rules of a * b. Products of 0s and 1s count, for each result,
    # how many allowed cells add each of the three.
    above, below = (b == math.inf).to(b.dtype), (b == -math.inf).to(b.dtype)
    up, down, neither = ((x & allowed).to(a.dtype) for x in (a * scale > 0, a * scale < 0, a * scale == 0))
    undefined = allowed.to(a.dtype) @ b.isnan().to(b.dtype) + neither @ (above + below)
    out += torch.zeros_like(out).masked_fill_((up @ above + down @ below) > 0, math.inf)
    out += torch.zeros_like(out).masked_fill_((up @ below + down @ above) > 0, -math.inf)
    out.masked_fill_(undefined > 0, math.nan)
