"""`attention`: the one call that every model in this package makes."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch

from ..lower import outside_graph
from ..masks import BoundMask, Mask
from ._bias import PositionBias
from ._call import check
from ._plan import take


@overload
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None = None,
    *,
    q_start: Any = None,
    bias: torch.Tensor | PositionBias | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    generator: torch.Generator | None = None,
    return_lse: Literal[False] = False,
    impl: str = "auto",
) -> torch.Tensor: ...
@overload
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None = None,
    *,
    q_start: Any = None,
    bias: torch.Tensor | PositionBias | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    generator: torch.Generator | None = None,
    return_lse: Literal[True],
    impl: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]: ...
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None = None,
    *,
    q_start: Any = None,
    bias: torch.Tensor | PositionBias | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    generator: torch.Generator | None = None,
    return_lse: bool = False,
    impl: str = "auto",
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attend: scaled dot-product attention (Vaswani et al. 2017) under a mask.

    Args:
        q: `(B, Hq, Q, D)`, floating point. Under autocast, q, k, v, a tensor bias and sinks are cast to its dtype, as
            SDPA casts its own (float64 stays), whichever implementation follows.
        k: `(B, Hkv, K, D)`; `Hq` is a multiple of `Hkv` (grouped-query attention, Ainslie et al. 2023). One batch row
            of queries, or of keys and values, may stand for all.
        v: `(B, Hkv, K, Dv)`.
        mask: a `Mask`, which this call binds; a `BoundMask`, which lowers once however often it is used; or None for
            `full()`.
        q_start: absolute position of the first query, needed when `Q != K` and the mask depends on the query: an int,
            or one for each batch row, as sequences of unlike length in a cache have.
        bias: added to the scaled scores: `mw.alibi(…)`, `mw.relative_bias(…)`, or a tensor that broadcasts to
            `(B, Hq, Q, K)`. The first two depend on positions and need `q_start` when `Q != K`.
        scale: factor on `q @ k.T`, `D ** -0.5` when left out.
        softcap: bounds the scaled scores, `softcap * tanh(score / softcap)`. The order is scale, softcap, bias, mask,
            sinks, as in Gemma 2 (Gemma Team 2024), flash-attention's `softcap` and the tanh soft-cap of FlexAttention's
            attention-gym. Not with `"sdpa"`.
        sinks: `(Hq,)`, a learned logit for each query head that joins each row's softmax without a value (gpt-oss,
            OpenAI 2025; "Attention Is Off By One" with a logit of 0); -inf = none. The log-sum-exp counts it. Keys that
            all queries see, StreamingLLM's sinks, are the mask `mw.sinks(n)` instead.
        dropout_p: chance that an attention weight is dropped.
        generator: source of the dropout's randomness (`impl="reference"` and `"tiled"`).
        return_lse: also return the log-sum-exp of the scores `(B, Hq, Q)`, -inf on an empty row (with sinks, the sink).
        impl: `"reference"` (dense, in float64), `"sdpa"` (PyTorch's, dense unless the mask is plain causal or full),
            `"tiled"` (on the CPU: query tiles against exactly the keys they see, forward and backward), `"flex"`
            (FlexAttention, compiled on first use; on CPU forward only), or `"auto"` (see `mw.plan`). A named
            implementation never falls back. Within `torch.compile`, pass bound masks to `"flex"`: dynamo guards the
            class of an argument, and each kind of `Mask` is a class of its own. Forward-mode derivatives and the
            transforms of `torch.func` are for `"reference"`, which `"auto"` takes there; the others raise.

    Returns:
        `(B, Hq, Q, Dv)` in q's dtype; with `return_lse`, a pair. A row that sees no key is 0, with gradient 0.

    Raises:
        ShapeError, ArgumentError, GridError: shapes, dtypes or positions do not fit. CannotExpress: `impl` cannot do
            this.

    >>> import torch, maskwork as mw
    >>> q = k = torch.zeros(1, 1, 3, 2)
    >>> v = torch.tensor([[[[1.0], [2.0], [6.0]]]])
    >>> mw.attention(q, k, v, mw.causal()).flatten()
    tensor([1.0000, 1.5000, 3.0000])

    A sink with a logit of 0 counts like one key more among scores of 0:

    >>> mw.attention(q, k, v, mw.causal(), sinks=torch.zeros(1)).flatten()
    tensor([0.5000, 1.0000, 2.2500])
    """
    # FlexAttention is compiled as a separate function. A caller's graph ends before that function and continues after
    # it, so that the caller's graph guards nothing about the mask: a new mask compiles nothing.
    run = _run_apart if impl == "flex" else _run
    out, lse = run(q, k, v, mask, q_start, bias, scale, softcap, sinks, dropout_p, generator, return_lse, impl)
    if return_lse:
        assert lse is not None, "take() returned an implementation without a log-sum-exp"
        return out, lse
    return out


def _run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None,
    q_start: Any,
    bias: torch.Tensor | PositionBias | None,
    scale: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
    dropout_p: float,
    generator: torch.Generator | None,
    return_lse: bool,
    impl: str,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Check the arguments, choose an implementation and compute the output, and the log-sum-exp on request."""
    device = q.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        q, k, v, bias, sinks = (_cast(x, dtype) for x in (q, k, v, bias, sinks))
        # What follows computes in dtypes of its own choice.
        with torch.autocast(device, enabled=False):
            return _run(q, k, v, mask, q_start, bias, scale, softcap, sinks, dropout_p, generator, return_lse, impl)
    call = check(
        q, k, v, mask,
        q_start=q_start, bias=bias, scale=scale, softcap=softcap, sinks=sinks, dropout_p=dropout_p,
        generator=generator, return_lse=return_lse,
    )  # fmt: skip
    return take(impl, call).attend(call)


_run_apart = outside_graph(_run)


def _cast(x: Any, dtype: torch.dtype) -> Any:
    """Return a tensor as autocast passes it to SDPA: floats in its dtype, but float64 as it is, like other values."""
    castable = isinstance(x, torch.Tensor) and x.is_floating_point() and x.dtype != torch.float64
    return x.to(dtype) if castable else x
