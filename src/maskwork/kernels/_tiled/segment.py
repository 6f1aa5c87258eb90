"""Large rectangles and triangles: PyTorch's fused CPU kernel, two results merged by their log-sum-exp."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .cut import Segment
from .lanes import Lanes

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def forward(segment: Segment, lanes: Lanes, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Output `(N, g, rows, Dv)` and log-sum-exp `(N, g, rows)`."""
    q = lanes.q[:, :, segment.q0 : segment.q1]
    results = [
        _flash(q, _shared(lanes.k, keys, q), _shared(lanes.v, keys, q), 0.0, causal, scale=scale)
        for keys, causal in _pieces(segment)
    ]
    if len(results) == 1:
        return results[0]
    (one, lse_one), (two, lse_two) = results
    lse = torch.logaddexp(lse_one, lse_two)
    out = one.mul_((lse_one - lse).exp_().unsqueeze(-1))
    return out.addcmul_(two, (lse_two - lse).exp_().unsqueeze(-1)), lse


def backward(
    segment: Segment, lanes: Lanes, scale: float, out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor,
    d_q: torch.Tensor, d_k: torch.Tensor, d_v: torch.Tensor,
) -> None:  # fmt: skip
    """Adds to `d_q (N, g, rows, D)`, `d_k (N, K, D)` and `d_v`; what comes in is of these rows as well.

    Weights follow from scores and the log-sum-exp of the whole row, so that each piece finds its own gradient.
    """
    q = lanes.q[:, :, segment.q0 : segment.q1]
    for keys, causal in _pieces(segment):
        k, v = _shared(lanes.k, keys, q), _shared(lanes.v, keys, q)
        grads = _flash_backward(d_out, q, k, v, out, lse, 0.0, causal, scale=scale)
        d_q += grads[0]
        d_k[:, keys] += grads[1].sum(1)
        d_v[:, keys] += grads[2].sum(1)


def _pieces(segment: Segment) -> Iterator[tuple[slice, bool]]:
    if segment.k1 > segment.k0:
        yield slice(segment.k0, segment.k1), False
    if segment.causal:
        yield slice(segment.k1, segment.k1 + segment.q1 - segment.q0), True


def _shared(x: torch.Tensor, keys: slice, q: torch.Tensor) -> torch.Tensor:
    """`(N, K, D)` -> `(N, g, keys, D)`, the same memory for each of the g heads."""
    return x[:, keys].unsqueeze(1).expand(-1, q.shape[1], -1, -1)
