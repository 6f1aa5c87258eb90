"""Large rectangles and triangles: PyTorch's fused CPU kernel, two results merged by their log-sum-exp.

keys  k0      k1                   The fused kernel computes a rectangle or a triangle that begins at the top left,
      ########                     so a segment with a triangle at its right end is computed in two pieces:
      #########
      ##########                   out = out_1 exp(lse_1 - lse) + out_2 exp(lse_2 - lse)
      ###########                  lse = log(exp(lse_1) + exp(lse_2))
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .cut import Segment
from .lanes import Lanes

# The operators behind `scaled_dot_product_attention` on the CPU, called directly because they return the log-sum-exp.
_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def forward(segment: Segment, lanes: Lanes, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output `(N, g, rows, Dv)` and log-sum-exp `(N, g, rows)`."""
    q = lanes.q[:, :, segment.q0 : segment.q1]
    results = [
        _flash(q, _shared(lanes.k, keys, q), _shared(lanes.v, keys, q), 0.0, causal, scale=scale)
        for keys, causal in _pieces(segment)
    ]
    if len(results) == 1:
        return results[0]
    (out_1, lse_1), (out_2, lse_2) = results
    lse = torch.logaddexp(lse_1, lse_2)
    out = out_1.mul_((lse_1 - lse).exp_().unsqueeze(-1))
    return out.addcmul_(out_2, (lse_2 - lse).exp_().unsqueeze(-1)), lse


def backward(
    segment: Segment, lanes: Lanes, scale: float, out: torch.Tensor, lse: torch.Tensor, d_out: torch.Tensor,
    d_q: torch.Tensor, d_k: torch.Tensor, d_v: torch.Tensor,
) -> None:  # fmt: skip
    """Add the gradients to `d_q (N, g, rows, D)`, `d_k (N, K, D)` and `d_v (N, K, Dv)`.

    `out`, `lse` and `d_out` have the segment's rows alone. The fused kernel recomputes weights from scores and the
    log-sum-exp; that of both pieces together makes the gradients of each piece right.
    """
    q = lanes.q[:, :, segment.q0 : segment.q1]
    for keys, causal in _pieces(segment):
        k, v = _shared(lanes.k, keys, q), _shared(lanes.v, keys, q)
        grads = _flash_backward(d_out, q, k, v, out, lse, 0.0, causal, scale=scale)
        d_q += grads[0]
        d_k[:, keys] += grads[1].sum(1)
        d_v[:, keys] += grads[2].sum(1)


def _pieces(segment: Segment) -> Iterator[tuple[slice, bool]]:
    """Yield the keys of the rectangle and of the triangle, each with whether it is the triangle."""
    if segment.k1 > segment.k0:
        yield slice(segment.k0, segment.k1), False
    if segment.causal:
        yield slice(segment.k1, segment.k1 + segment.q1 - segment.q0), True


def _shared(x: torch.Tensor, keys: slice, q: torch.Tensor) -> torch.Tensor:
    """View `(N, K, D)` as `(N, g, keys, D)`: the same memory for each of the g heads."""
    return x[:, keys].unsqueeze(1).expand(-1, q.shape[1], -1, -1)
