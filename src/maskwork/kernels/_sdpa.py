"""PyTorch's `scaled_dot_product_attention` under our laws: empty rows are 0, and no NaN leaks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..lower import SdpaArguments, lowered, sdpa_shortcut, to_dense, to_sdpa
from ..spans import Spans
from ._bias import PositionBias
from ._call import Call, Implementation, numbers_known, too_dense


def shortcut(call: Call) -> SdpaArguments | None:
    """Return the arguments that SDPA takes in place of a dense mask, None where SDPA needs the dense mask."""
    if call.bias is not None or call.sinks is not None:
        return None
    return lowered(call.mask, ("sdpa shortcut",), lambda: sdpa_shortcut(call.mask))


def _cannot(call: Call) -> str | None:
    """Return why SDPA cannot compute the call, or None."""
    if call.softcap is not None:
        return "it has no bound on the scores (softcap)"
    if call.transforms - {"grad"}:
        return refusal(call)
    if call.return_lse:
        return "it does not return the log-sum-exp"
    if call.dropout_p and call.generator is not None:
        return "its dropout takes no generator"
    return None


def _not_worth_it(call: Call) -> str | None:
    """Return why `auto` builds no dense mask for the call, or None."""
    # The mask is as large as what it depends on: one plane for all batch rows and heads, unless they differ.
    batch, heads, q_len, kv_len = call.mask.shape
    if isinstance(call.bias, torch.Tensor):
        batch, heads = call.q.shape[:2]
    elif call.bias is not None or call.sinks is not None:
        heads = call.q.shape[1]
        if isinstance(call.bias, PositionBias) and (call.bias.batch > 1 or isinstance(call.mask.grid.q_start, tuple)):
            batch = call.q.shape[0]  # slopes or positions of each batch row
    reason = too_dense(batch * heads * q_len * kv_len)
    return None if reason is None or shortcut(call) is not None else reason


def _attend(call: Call) -> tuple[torch.Tensor, None]:
    """Return the output `(B, Hq, Q, Dv)`."""
    device = call.q.device
    k, v = hide_unseen(call)
    if call.groups > 1:
        k, v = k.repeat_interleave(call.groups, dim=1), v.repeat_interleave(call.groups, dim=1)
    q = call.q
    empty = empty_rows(call)
    if empty is not None:
        # A NaN in a query that sees nothing would reach the keys' gradients as 0 x NaN.
        q = q.masked_fill(empty.unsqueeze(-1), 0.0)
    if call.sinks is not None:
        # A key of zeros scores 0, so that its bias is the sink's logit; its value adds nothing.
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        attn_mask, is_causal = _with_sinks(call, call.sinks), False
    elif call.bias is None:
        arguments = to_sdpa(call.mask, device)
        attn_mask, is_causal = arguments["attn_mask"], arguments["is_causal"]
    else:
        attn_mask, is_causal = _biased(call), False
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask, dropout_p=call.dropout_p, is_causal=is_causal, scale=call.scale
    )
    # Kernels differ in what they return for a row without keys; the fill also cuts the gradient of such a row.
    return out if empty is None else out.masked_fill(empty.unsqueeze(-1), 0.0), None


SDPA = Implementation("sdpa", _attend, _cannot, _not_worth_it, "slower here")


def _biased(call: Call) -> torch.Tensor:
    """Return the bias where attention is allowed and -inf elsewhere, broadcast to `(B, Hq, Q, K)`, in q's dtype."""
    # The mask before the bias: torch.compile breaks its graph at the mask.
    allowed = to_dense(call.mask, call.q.device)
    bias = call.dense_bias()
    if bias is None:
        bias = call.q.new_zeros(())
    # Filled, not added: a bias may hold NaN or inf where nothing is allowed.
    return bias.to(call.q.dtype).masked_fill(~allowed, float("-inf"))


def _with_sinks(call: Call, sinks: torch.Tensor) -> torch.Tensor:
    """Return the mask of `_biased` with a column more, the sinks': `(B | 1, Hq, Q, K + 1)`."""
    biased = _biased(call)
    (_, heads, q_len, _), kv_len = call.q.shape, call.k.shape[2]
    biased = biased.expand(biased.shape[0], heads, q_len, kv_len)
    column = sinks.to(biased.dtype).view(1, -1, 1, 1).expand(biased.shape[0], -1, q_len, 1)
    return torch.cat([biased, column], -1)


def refusal(call: Call) -> str:
    """Return why an implementation without a rule for the call's transforms cannot compute it."""
    acting = call.transforms - {"grad"} if "jvp" in call.transforms else call.transforms  # a jvp shows as both
    names = [name for name in ("jvp", "vmap", "grad") if name in acting]
    return f"it has no rule for torch's transforms, here {' of '.join(names) or 'one inside another'}"


def empty_rows(call: Call) -> torch.Tensor | None:
    """Return bool `(B | 1, H | 1, Q)`: the queries that see no key; None where each query sees one."""
    device = call.q.device
    return lowered(call.mask, ("empty rows", device), lambda: _tensor_if_any(call.mask.empty_rows(), device))


def hide_unseen(call: Call) -> tuple[torch.Tensor, torch.Tensor]:
    """Set keys and values that no row may see to zero: 0 x NaN is NaN, so a masked NaN would spread.

    Returns:
        k and v, copied only where there is something to hide.
    """
    device = call.k.device
    unseen = lowered(call.mask, ("unseen keys", device), lambda: _tensor_if_any(_unseen_keys(call.mask.spans), device))
    if unseen is None:  # first: a look at all numbers takes as long as a small call
        return call.k, call.v
    if numbers_known(call) and not call.needs_gradients and _finite(call.k) and _finite(call.v):
        return call.k, call.v
    if unseen.shape[1] > 1:  # per query head: a key head is unseen where all of its query heads agree
        unseen = unseen.unflatten(1, (call.k.shape[1], call.groups)).all(2)
    hidden = unseen.unsqueeze(-1)
    return call.k.masked_fill(hidden, 0.0), call.v.masked_fill(hidden, 0.0)


def _finite(x: torch.Tensor) -> bool:
    """Return whether all numbers are known to be finite. Only the CPU checks: on a GPU a copy is cheaper."""
    return x.device.type == "cpu" and bool(x.sum().isfinite())


def _unseen_keys(spans: Spans) -> npt.NDArray[np.bool_]:
    """Return bool `(B, H, K)`: the keys that no query sees.

    A run adds 1 at its first key and subtracts 1 behind its last; the running sum counts the queries that see a key:

        runs [0, 2), [1, 3) over 5 keys     edges  +1 +1 -1 -1  0     sum  1 2 1 0 0     unseen: keys 3 and 4
    """
    (batch, heads, _), width = spans.shape, spans.kv_len + 1  # unused slots begin and end at kv_len: they cancel out
    first = np.arange(batch * heads, dtype=np.int64).reshape(batch, heads, 1) * width
    opened, closed = (
        np.bincount((first + edge).ravel(), minlength=batch * heads * width)
        for edge in (spans.planes_starts, spans.planes_ends)
    )
    counts = (opened - closed).reshape(batch, heads, width)[..., :-1].cumsum(-1)
    return counts == 0


def _tensor_if_any(flags: npt.NDArray[np.bool_], device: torch.device) -> torch.Tensor | None:
    return torch.tensor(flags, device=device) if flags.any() else None
