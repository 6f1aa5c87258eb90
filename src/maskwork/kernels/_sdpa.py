"""PyTorch's `scaled_dot_product_attention`, made to keep our laws: empty rows are 0 and nothing leaks a NaN."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..lower import lowered, to_dense, to_sdpa
from ._call import Call


def cannot(call: Call) -> str | None:
    """Why SDPA cannot express the call, or None."""
    if call.return_lse:
        return "it does not return the log-sum-exp"
    if call.dropout_p and call.generator is not None:
        return "its dropout takes no generator"
    return None


def attend(call: Call) -> tuple[torch.Tensor, None]:
    """Output `(B, Hq, Q, Dv)`."""
    device = call.q.device
    k, v = hide_unseen(call)
    if call.groups > 1:
        k, v = k.repeat_interleave(call.groups, dim=1), v.repeat_interleave(call.groups, dim=1)
    q = call.q
    empty = empty_rows(call)
    if empty is not None:
        # A NaN in a query that sees nothing would reach the keys' gradients as 0 x NaN.
        q = q.masked_fill(empty.unsqueeze(-1), 0.0)
    if call.bias is None:
        arguments = to_sdpa(call.mask, device)
        attn_mask, is_causal = arguments["attn_mask"], arguments["is_causal"]
    else:
        allowed = to_dense(call.mask, device)  # first: torch.compile breaks its graph here
        bias = call.dense_bias()
        # Filled, not added: a bias may hold NaN or inf where nothing is allowed.
        attn_mask = bias.to(q.dtype).masked_fill(~allowed, float("-inf"))
        is_causal = False
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask, dropout_p=call.dropout_p, is_causal=is_causal, scale=call.scale
    )
    # What a kernel returns for a row without keys differs between kernels; the fill also cuts its gradient.
    return out if empty is None else out.masked_fill(empty.unsqueeze(-1), 0.0), None


def empty_rows(call: Call) -> torch.Tensor | None:
    """bool `(B | 1, H | 1, Q)`: the queries that see no key, or None where each sees some."""
    device = call.q.device
    return lowered(call.mask, ("empty rows", device), lambda: _tensor_if_any(call.mask.empty_rows(), device))


def hide_unseen(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """Zero the keys and values that no row may see: 0 x NaN is NaN, so a masked NaN would spread."""
    device = call.k.device
    unseen = lowered(call.mask, ("unseen keys", device), lambda: _tensor_if_any(call.mask.last_seen() < 0, device))
    if unseen is None or (_no_gradients(call) and _finite(call.k) and _finite(call.v)):
        return call.k, call.v
    if unseen.shape[1] > 1:  # per query head: a key head is unseen where all of its query heads agree
        unseen = unseen.unflatten(1, (call.k.shape[1], call.groups)).all(2)
    hidden = unseen.unsqueeze(-1)
    return call.k.masked_fill(hidden, 0.0), call.v.masked_fill(hidden, 0.0)


def _no_gradients(call: Call) -> bool:
    return not (torch.is_grad_enabled() and any(x.requires_grad for x in (call.q, call.k, call.v)))


def _finite(x: torch.Tensor) -> bool:
    """Whether all is known to be finite: looked at where looking is cheaper than a copy, which is not on a GPU."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and bool(x.sum().isfinite())


def _tensor_if_any(flags: npt.NDArray[np.bool_], device: torch.device) -> torch.Tensor | None:
    return torch.tensor(flags, device=device) if flags.any() else None
