"""The operators that a compiled graph contains: tensors in, tensors out, so that another mask is another input."""

from __future__ import annotations

from typing import Any

import torch
from torch._library import autograd

from ...errors import CannotExpress
from ...lower import transforms
from . import run as _run


def _forward(
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
        bias: broadcasts to `(B, Hq, Q, K)`; with `by_distance`, tables `(B | 1, Hq, Q + K - 1)` of `PositionBias`.
        by_distance: which of the two layouts.
        scale: factor on the scores.
        softcap: bound on the scaled scores, 0 = no bound.
        dropout_p: chance that a weight is dropped.
        seed: int64 scalar from which the dropout's randomness follows; None without dropout.
        want_lse: whether the log-sum-exp is differentiable.
    """
    call = _run.TiledCall(q, k, v, schedule, bias, by_distance, scale, softcap, dropout_p, seed)
    return _run.forward(call)


# Shapes and dtypes of the results, for tracing without data. Arguments as in the operators.
def _forward_shapes(q, k, v, schedule, bias, by_distance, scale, softcap, dropout_p, seed, want_lse):
    lse = torch.promote_types(q.dtype, torch.float32)
    return q.new_empty((*q.shape[:3], v.shape[3])), q.new_empty(q.shape[:3], dtype=lse)


def _backward(
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


def _backward_shapes(
    d_out, d_lse, q, k, v, out, lse, schedule, bias, by_distance, scale, softcap, dropout_p, seed, want_bias
):
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


_LIBRARY = torch.library.Library("maskwork", "FRAGMENT")


def _register(name: str, compute: Any, shapes: Any, backward: Any, setup_context: Any = None) -> Any:
    """Register an operator of the CPU, and return it.

    `torch.library.custom_op` does as much, but its first call imports the compiler, which takes a second.
    """
    name = f"maskwork::{name}"
    torch.library.define(name, torch.library.infer_schema(compute, mutates_args=()), tags=torch.Tag.pt2_compliant_tag)

    # A default device is a mode of functions that would reach the factories inside.
    def on_cpu(*args: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return compute(*args)

    torch.library.impl(name, "cpu", on_cpu)
    torch.library.register_fake(name, shapes)
    operator = getattr(torch.ops.maskwork, name.removeprefix("maskwork::")).default
    differentiate: Any = autograd.make_autograd_impl(operator, autograd.Info(backward, setup_context))

    # What `torch.library.register_autograd` registers drops tangents: a derivative of 0.
    def refuse_or_differentiate(keyset: Any, *args: Any) -> Any:
        found = transforms(lambda: (x for x in args if isinstance(x, torch.Tensor)))
        if found - {"vmap"}:
            raise CannotExpress(
                f"impl='tiled' has no rule for torch's transforms, got {' of '.join(sorted(found))}; "
                "use impl='reference'"
            )
        return differentiate(keyset, *args)

    _LIBRARY.impl(operator, refuse_or_differentiate, "Autograd", with_keyset=True)
    return operator


tiled_attention_backward = _register("tiled_attention_backward", _backward, _backward_shapes, _once_only)
tiled_attention = _register("tiled_attention", _forward, _forward_shapes, _differentiate, _save)
