"""The specification: dense, float64 inside, obvious. Every other implementation answers to it."""

from __future__ import annotations

import torch

from ..lower import to_dense
from ._call import Call, Implementation, numbers_known, too_dense


def _cannot(call: Call) -> str | None:
    """Return None: the reference computes every call."""
    return None


def _not_worth_it(call: Call) -> str | None:
    """Return why `auto` builds no dense scores for the call, or None."""
    return too_dense(call.cells)


def _attend(call: Call) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return output `(B, Hq, Q, Dv)` in q's dtype and, on request, log-sum-exp `(B, Hq, Q)`, at least float32."""
    allowed = to_dense(call.mask, call.q.device)
    unknown = not numbers_known(call)
    # A query that sees nothing counts as 0: a NaN in it would reach the keys' gradients as 0 x NaN.
    q = call.q.double().masked_fill(~allowed.any(-1, keepdim=True), 0.0)
    k = call.k.double().repeat_interleave(call.groups, dim=1)
    v = call.v.double().repeat_interleave(call.groups, dim=1)
    scores = _scores(q, k, allowed, unknown) * call.scale
    if call.softcap is not None:
        # Filled first: tanh has no derivative at a forbidden NaN, and 0 x NaN would be NaN.
        scores = call.softcap * torch.tanh(scores.masked_fill(~allowed, 0.0) / call.softcap)
    bias = call.dense_bias()
    if bias is not None:
        scores = scores + bias.double()
    scores = scores.masked_fill(~allowed, float("-inf"))
    # An empty row has no largest score; 0 stands in, so that exp(-inf - 0) = 0 and nothing is NaN.
    largest = scores.amax(-1, keepdim=True).detach() if scores.shape[-1] else scores.new_zeros((*scores.shape[:-1], 1))
    sink = None if call.sinks is None else call.sinks.double().reshape(-1, 1, 1)
    if sink is not None:
        largest = torch.maximum(largest, sink.detach())
    largest = largest.masked_fill(largest == float("-inf"), 0.0)
    # The fill cuts the gradient too: a forbidden score may be NaN, and 0 x NaN would be NaN.
    weights = (scores - largest).exp().masked_fill(~allowed, 0.0)
    total = weights.sum(-1, keepdim=True)
    if sink is not None:
        total = total + (sink - largest).exp()
    empty = total == 0
    # Filled again: a row whose total is NaN would multiply values that it may not see by 0 / NaN.
    weights = (weights / total.masked_fill(empty, 1.0)).masked_fill(~allowed, 0.0)
    if call.dropout_p:
        retained = torch.rand(weights.shape, generator=call.generator, device=weights.device) >= call.dropout_p
        weights = weights * retained / (1.0 - call.dropout_p)
    out = _weighted_sum(weights, v, allowed, unknown).to(call.q.dtype)
    if not call.return_lse:
        return out, None
    lse = (largest + total.masked_fill(empty, 1.0).log()).masked_fill(empty, float("-inf")).squeeze(-1)
    return out, lse.to(torch.promote_types(call.q.dtype, torch.float32))


REFERENCE = Implementation("reference", _attend, _cannot, _not_worth_it, "slower: dense, in float64")

# A NaN or inf in a key or value must not reach a row that may not see it, neither forward nor backward, where a
# product would turn 0 x NaN into NaN. Only then are the factors spread out per cell, (B, H, Q, K, D), and forbidden
# ones replaced by 0 before the multiplication. Where the numbers are unknown, as in a traced graph or under vmap,
# nothing may depend on them: a row which sees a number that is not finite is NaN.


def _scores(q: torch.Tensor, k: torch.Tensor, allowed: torch.Tensor, unknown: bool) -> torch.Tensor:
    """Return `q @ k.T`, `(B, H, Q, K)`, without the keys that a row may not see."""
    if unknown:
        finite = k.isfinite()
        product = q @ k.where(finite, 0.0).transpose(-2, -1)
        return product.masked_fill(allowed & ~finite.all(-1).unsqueeze(-2), float("nan"))
    if k.isfinite().all():
        return q @ k.transpose(-2, -1)
    return (q.unsqueeze(-2) * k.unsqueeze(-3).where(allowed.unsqueeze(-1), 0.0)).sum(-1)


def _weighted_sum(weights: torch.Tensor, v: torch.Tensor, allowed: torch.Tensor, unknown: bool) -> torch.Tensor:
    """Return `weights @ v`, `(B, H, Q, Dv)`, without the values that a row may not see."""
    if unknown:
        finite = v.isfinite()
        seen = allowed.to(weights.dtype).expand(weights.shape) @ (~finite).to(weights.dtype)
        return (weights @ v.where(finite, 0.0)).masked_fill(seen > 0, float("nan"))
    if v.isfinite().all():
        return weights @ v
    return (weights.unsqueeze(-1) * v.unsqueeze(-3).where(allowed.unsqueeze(-1), 0.0)).sum(-2)
