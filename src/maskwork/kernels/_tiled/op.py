"""The operators that a compiled graph contains: tensors in, tensors out, so that another mask is another input."""

from __future__ import annotations

import torch

from ...errors import CannotExpress
from . import run as _run


@torch.library.custom_op("maskwork::tiled_attention", mutates_args=(), device_types="cpu")
def tiled_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    schedule: torch.Tensor,
    bias: torch.Tensor | None,
    by_distance: bool,
    scale: float,
    softcap: float,
    dropout_p: float,
    seed: torch.Tensor | None,
    want_lse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend by tiles: return output `(B, Hq, Q, Dv)` and log-sum-exp `(B, Hq, Q)`.

    Args:
        q, k, v: as in `mw.attention`.
        schedule: from `to_tiles`.
        bias: broadcasts to `(B, Hq, Q, K)`; with `by_distance`, the table `(Hq, Q + K - 1)` of `PositionBias`.
        by_distance: which of the two layouts.
        scale: factor on the scores.
        softcap: bound on the scaled scores, 0.0 = none.
        dropout_p: chance that a weight is dropped.
        seed: int64 scalar from which the dropout's randomness follows; None without dropout.
        want_lse: whether the log-sum-exp is differentiable.
    """
    call = _run.TiledCall(q, k, v, schedule, bias, by_distance, scale, softcap, dropout_p, seed)
    return _run.forward(call)


# Shapes and dtypes of the results, for tracing without data. Arguments as in the operators.
@tiled_attention.register_fake
def _(q, k, v, schedule, bias, by_distance, scale, softcap, dropout_p, seed, want_lse):
    lse = torch.promote_types(q.dtype, torch.float32)
    return q.new_empty((*q.shape[:3], v.shape[3])), q.new_empty(q.shape[:3], dtype=lse)


@torch.library.custom_op("maskwork::tiled_attention_backward", mutates_args=(), device_types="cpu")
def tiled_attention_backward(
    d_out: torch.Tensor,
    d_lse: torch.Tensor | None,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    schedule: torch.Tensor,
    bias: torch.Tensor | None,
    by_distance: bool,
    scale: float,
    softcap: float,
    dropout_p: float,
    seed: torch.Tensor | None,
    want_bias: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of q, k, v and, with `want_bias`, of the bias (else an empty tensor)."""
    call = _run.TiledCall(q, k, v, schedule, bias, by_distance, scale, softcap, dropout_p, seed)
    return _run.backward(call, out, lse, d_out, d_lse, want_bias)


@tiled_attention_backward.register_fake
def _(d_out, d_lse, q, k, v, out, lse, schedule, bias, by_distance, scale, softcap, dropout_p, seed, want_bias):
    d_bias = bias.new_empty(bias.shape) if want_bias else q.new_empty(0)
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape), d_bias


# Autograd: the forward operator saves its inputs and outputs, the backward operator reads them.
def _save(ctx, inputs, output) -> None:
    q, k, v, schedule, bias, by_distance, scale, softcap, dropout_p, seed, want_lse = inputs
    ctx.save_for_backward(q, k, v, *output, schedule, bias, seed)
    ctx.settings = by_distance, scale, softcap, dropout_p
    ctx.want_lse = want_lse
    if not want_lse:
        ctx.mark_non_differentiable(output[1])


def _differentiate(ctx, d_out, d_lse):
    q, k, v, out, lse, schedule, bias, seed = ctx.saved_tensors
    by_distance, scale, softcap, dropout_p = ctx.settings
    want_bias = bias is not None and ctx.needs_input_grad[4]
    d_q, d_k, d_v, d_bias = tiled_attention_backward(
        d_out, d_lse if ctx.want_lse else None, q, k, v, out, lse, schedule, bias, by_distance, scale, softcap,
        dropout_p, seed, want_bias,
    )  # fmt: skip
    return d_q, d_k, d_v, None, d_bias if want_bias else None, None, None, None, None, None, None


def _once_only(ctx, *grads):
    raise CannotExpress(
        "impl='tiled' differentiates once, got a request for a second derivative; use impl='reference', which "
        "differentiates again"
    )


tiled_attention.register_autograd(_differentiate, setup_context=_save)
tiled_attention_backward.register_autograd(_once_only)
