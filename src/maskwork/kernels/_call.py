"""The interface between `attention` and what computes it: a checked `Call`, and an `Implementation`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..errors import ArgumentError, GridError, ShapeError
from ..lower import bind_outside_graph, outside_graph
from ..masks import BoundMask, Mask, full, missing_q_start
from ._bias import PositionBias

#: Most (B, H, Q, K) cells that `auto` lets an implementation hold as a dense mask: 2**28, 256 MiB of bool.
MAX_DENSE = 1 << 28


@dataclass(frozen=True)
class Call:
    """Checked arguments of one call of `mw.attention`.

    Attributes:
        q, k, v: `(B, Hq, Q, D)`, `(B, Hkv, K, D)` and `(B, Hkv, K, Dv)`, of one dtype and device; Hq is a multiple of
            Hkv.
        mask: bound to this grid.
        bias: broadcasts to `(B, Hq, Q, K)`, or depends on positions; None = no bias.
        softcap: bound on the scaled scores, None = no bound.
        sinks: logits of the sinks, `(Hq,)`, None = no sinks.
        scale: factor on the scores.
        dropout_p: chance that an attention weight is dropped.
        generator: source of the dropout's randomness, None = torch's default.
        return_lse: whether the caller wants the log-sum-exp.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mask: BoundMask
    bias: torch.Tensor | PositionBias | None
    softcap: float | None
    sinks: torch.Tensor | None
    scale: float
    dropout_p: float
    generator: torch.Generator | None
    return_lse: bool

    @property
    def groups(self) -> int:
        """Number of query heads per key head."""
        return self.q.shape[1] // self.k.shape[1]

    @property
    def cells(self) -> int:
        """Number of (batch row, query head, query, key) cells, allowed or not."""
        return math.prod(self.q.shape[:3]) * self.k.shape[2]

    @property
    def needs_gradients(self) -> bool:
        """Whether a backward pass may ask for a gradient of q, k, v or the sinks."""
        tensors = (self.q, self.k, self.v, self.sinks)
        return torch.is_grad_enabled() and any(x.requires_grad for x in tensors if x is not None)

    def dense_bias(self) -> torch.Tensor | None:
        """Return the bias as a tensor that broadcasts to `(B, Hq, Q, K)`, None = no bias."""
        if not isinstance(self.bias, PositionBias):
            return self.bias
        grid = self.mask.grid
        return self.bias.dense(grid.q_start, grid.q_len, grid.kv_len, self.q.device)


@dataclass(frozen=True)
class Implementation:
    """One way of computing a call, with the reasons that speak against it.

    Attributes:
        name: what `impl=` calls the implementation.
        attend: computes the output `(B, Hq, Q, Dv)` and, if the call asks for it, the log-sum-exp `(B, Hq, Q)`.
        cannot: returns why the implementation cannot compute a call, None = it can.
        not_worth_it: returns why `auto` skips the implementation for a call that it could compute, None = worth it.
        slower: why `auto` prefers an earlier implementation when this one is worth it too.
    """

    name: str
    attend: Callable[[Call], tuple[torch.Tensor, torch.Tensor | None]]
    cannot: Callable[[Call], str | None]
    not_worth_it: Callable[[Call], str | None]
    slower: str


def too_dense(cells: int) -> str | None:
    """Return why `auto` builds no dense mask of so many cells, None where it does."""
    if cells <= MAX_DENSE:
        return None
    return f"its dense mask would hold {cells} cells, over the {MAX_DENSE} that auto allows"


def check(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None,
    *,
    q_start: int | None,
    bias: torch.Tensor | PositionBias | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
    scale: float | None,
    dropout_p: float,
    generator: torch.Generator | None,
    return_lse: bool,
) -> Call:
    """Return the checked call.

    Raises:
        ShapeError, ArgumentError, GridError: an argument breaks a rule; the message names the argument.
    """
    q, k, v = _check_tensors(q, k, v)
    if not 0.0 <= dropout_p < 1.0:
        raise ArgumentError(f"dropout_p must be in [0, 1), got {dropout_p}")
    if isinstance(mask, BoundMask) and mask._shape is not None and q_start is None:
        # The shape is known, so nothing is computed here: no reason to leave a compiled graph.
        bound = mask
        _check_bound(bound, q, k)
    else:
        bound = _bind(mask, q, k, q_start)
    if isinstance(bias, PositionBias):
        _check_position_bias(bias, mask, q, k, q_start)
    elif bias is not None:
        _check_bias(bias, q, k)
    cap = None if softcap is None else _check_softcap(softcap)
    if sinks is not None:
        _check_sinks(sinks, q)
    factor: float = q.shape[-1] ** -0.5 if scale is None else scale
    return Call(q, k, v, bound, bias, cap, sinks, factor, dropout_p, generator, return_lse)


def _check_tensors(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return q, k and v with one batch size, or raise where they do not fit together."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 4:
            raise ShapeError(
                f"{name} must be (batch, heads, length, head_dim), got shape {tuple(x.shape)}; add the axis"
            )
        if not x.is_floating_point():
            raise ArgumentError(f"{name} must be floating point, got {x.dtype}; convert it")
        if x.dtype != q.dtype or x.device != q.device:
            raise ArgumentError(
                f"q, k and v must share dtype and device, got q {q.dtype} on {q.device}, {name} {x.dtype} on {x.device}"
            )
    if k.shape[:3] != v.shape[:3] or k.shape[3] != q.shape[3]:
        raise ShapeError(
            "q (B, Hq, Q, D), k (B, Hkv, K, D) and v (B, Hkv, K, Dv) must agree, got "
            f"{tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}; length comes after heads"
        )
    if q.shape[3] == 0:
        raise ShapeError(f"head_dim must be at least 1, got q {tuple(q.shape)}; pass a larger width")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ShapeError(
            f"query heads must be a multiple of key heads, got {q.shape[1]} and {k.shape[1]}; q, k and v are (batch, "
            "heads, length, width)"
        )
    batch, kv_batch = q.shape[0], k.shape[0]
    if batch != kv_batch:
        if batch == 1:
            q = q.expand(kv_batch, -1, -1, -1)
        elif kv_batch == 1:
            k, v = k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)
        else:
            raise ShapeError(
                f"q and k must have one batch size, or one of them a batch of 1, got {batch} and {kv_batch}; repeat "
                "the smaller with repeat_interleave"
            )
    return q, k, v


def _check_softcap(softcap: float) -> float:
    """Return the bound on the scores as a float, or raise unless it is a finite number above 0."""
    if isinstance(softcap, bool) or not isinstance(softcap, (int, float)):
        raise ArgumentError(
            f"softcap must be a number above 0, got {type(softcap).__name__}; pass a float, None = no softcap"
        )
    if not 0.0 < softcap < math.inf:
        raise ArgumentError(f"softcap must be a finite number above 0, got {softcap}; leave it out for no softcap")
    return float(softcap)


def _check_sinks(sinks: torch.Tensor, q: torch.Tensor) -> None:
    """Raise unless `sinks` holds one floating point logit for each head of q, on q's device."""
    if not isinstance(sinks, torch.Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"sinks must be a tensor of logits (Hq,), got {type(sinks).__name__}; keys that every query sees are a "
            "mask, mw.sinks(n)"
        )
    if not sinks.is_floating_point() or sinks.device != q.device:
        raise ArgumentError(
            f"sinks must be floating point on q's device {q.device}, got {sinks.dtype} on {sinks.device}; convert or "
            "move them"
        )
    if sinks.shape != (q.shape[1],):
        raise ShapeError(
            f"sinks must be one logit for each query head, ({q.shape[1]},), got {tuple(sinks.shape)}; reshape them"
        )


@outside_graph
def _bind(mask: Mask | BoundMask | None, q: torch.Tensor, k: torch.Tensor, q_start: int | None) -> BoundMask:
    """Return the mask bound to the grid of `q` and `k`; None means `full()`."""
    batch, heads, q_len, _ = q.shape
    kv_len = k.shape[2]
    if mask is None:
        mask = full()
    if isinstance(mask, Mask):
        return bind_outside_graph(mask, q_len, kv_len, q_start=q_start, batch=max(batch, 1), heads=heads)
    if not isinstance(mask, BoundMask):  # pyright: ignore[reportUnnecessaryIsInstance]
        if isinstance(mask, str):
            raise ArgumentError(f"mask must be a maskwork mask, got the text {mask!r:.60}; pass mw.parse(text)")
        raise ArgumentError(
            f"mask must be a maskwork mask, got {type(mask).__name__}: a raw array does not say whether True means "
            "attend or ignore; pass mw.from_dense(array) where True = may attend, mw.real(attention_mask) where 1 = "
            "token, mw.from_key_padding_mask(m) where True = ignore, or atoms such as mw.causal()"
        )
    if q_start is not None:
        raise ArgumentError(f"q_start belongs to a Mask, got a BoundMask and q_start={q_start}; pass q_start to bind")
    _check_bound(mask, q, k)
    return mask


def _check_bound(mask: BoundMask, q: torch.Tensor, k: torch.Tensor) -> None:
    """Raise unless a bound mask fits the grid of `q` and `k`."""
    (batch, heads, q_len, _), kv_len = q.shape, k.shape[2]
    b, h, rows, keys = mask.shape
    if (rows, keys) != (q_len, kv_len) or b not in (1, batch) or h not in (1, heads):
        raise GridError(
            f"a bound mask must match (batch, heads, q_len, kv_len) = {(batch, heads, q_len, kv_len)}, "
            f"got {mask.shape}; bind it for these lengths"
        )


def _check_position_bias(
    bias: PositionBias, mask: Mask | BoundMask | None, q: torch.Tensor, k: torch.Tensor, q_start: int | None
) -> None:
    """Raise unless the bias has q's heads and the queries' positions are known."""
    if bias.heads != q.shape[1]:
        raise ArgumentError(
            f"a position bias must be made for q's heads, got one for {bias.heads} and q with {q.shape[1]}; "
            "give it a slope or a column of the table for each query head"
        )
    q_len, kv_len = q.shape[2], k.shape[2]
    if q_start is None and q_len != kv_len and not isinstance(mask, BoundMask):
        raise missing_q_start(q_len, kv_len, " and the bias depends on positions")


def _check_bias(bias: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> None:
    """Raise unless `bias` is a floating point tensor on q's device that broadcasts to the scores."""
    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    if not isinstance(bias, torch.Tensor) or bias.device != q.device:  # pyright: ignore[reportUnnecessaryIsInstance]
        got = f"a tensor on {bias.device}" if isinstance(bias, torch.Tensor) else type(bias).__name__
        raise ArgumentError(
            f"bias must be a tensor on q's device {q.device} or a position bias such as mw.alibi(heads), got {got}; "
            "convert or move it"
        )
    try:
        fits = torch.broadcast_shapes(bias.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits or not bias.is_floating_point():
        raise ArgumentError(
            f"bias must be floating point broadcast to (B, Hq, Q, K) = {shape}, got {bias.dtype} {tuple(bias.shape)}"
        )
