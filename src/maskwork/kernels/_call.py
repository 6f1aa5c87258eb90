"""The interface between `attention` and what computes it: a checked `Call`, and an `Implementation`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import forward_ad

from ..errors import ArgumentError, GridError, ShapeError
from ..lower import bind_outside_graph, outside_graph, transforms
from ..masks import BoundMask, Mask, full, missing_q_start
from ._bias import PositionBias, describe

_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]

#: Most (B, H, Q, K) cells that `auto` lets an implementation hold as a dense mask: 2**28, 256 MiB of bool.
MAX_DENSE = 1 << 28


@dataclass(frozen=True, eq=False)
class Call:
    """Checked arguments of one call of `mw.attention`.

    Attributes:
        q, k, v: `(B, Hq, Q, D)`, `(B, Hkv, K, D)` and `(B, Hkv, K, Dv)`, of one dtype and device; Hq is a multiple of
            Hkv.
        mask: bound to this grid.
        bias: broadcasts to `(B, Hq, Q, K)`, or depends on positions; None = no bias.
        scale: factor on the scores.
        softcap: bound on the scaled scores, `softcap * tanh(score / softcap)`, before the bias; None = no bound.
        sinks: `(Hq,)`, a logit for each query head that joins each row's softmax without a value; None = no sinks.
        dropout_p: chance that an attention weight is dropped.
        generator: source of the dropout's randomness, None = torch's default.
        return_lse: whether the caller wants the log-sum-exp.
        transforms: torch's transforms that act on the tensors: "jvp", "vmap", "grad", "nested".
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mask: BoundMask
    bias: torch.Tensor | PositionBias | None
    scale: float
    softcap: float | None
    sinks: torch.Tensor | None
    dropout_p: float
    generator: torch.Generator | None
    return_lse: bool
    transforms: frozenset[str]

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
        tensors = self.q, self.k, self.v, self.sinks
        return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)

    def dense_bias(self) -> torch.Tensor | None:
        """Return the bias as a tensor that broadcasts to `(B, Hq, Q, K)`, None = no bias."""
        if not isinstance(self.bias, PositionBias):
            return self.bias
        grid, device = self.mask.grid, self.q.device
        if self.has_consecutive_positions:
            return self.bias.dense(grid.q_start, grid.q_len, grid.kv_len, device)
        sides = self.mask.q_positions, self.mask.k_positions
        return self.bias.at(*(torch.tensor(side, device=device) for side in sides))

    @property
    def has_consecutive_positions(self) -> bool:
        """Whether queries follow one another from the grid's start on and keys from 0: not so in a selection."""
        return self.mask._positions is None


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


def numbers_known(call: Call) -> bool:
    """Return whether code may branch on the numbers in the tensors: not in a traced graph, nor under `vmap`."""
    if torch.compiler.is_compiling() or call.transforms & {"vmap", "nested"}:
        return False
    # Classes of tensors beside torch's own, such as fake ones, may hold no numbers.
    plain = (torch.Tensor, torch.nn.Parameter)
    return call.transforms != frozenset() or all(type(x) in plain for x in (call.q, call.k, call.v))


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
    q_start: Any,
    bias: torch.Tensor | PositionBias | None,
    scale: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
    dropout_p: float,
    generator: torch.Generator | None,
    return_lse: bool,
) -> Call:
    """Return the checked call.

    Raises:
        ShapeError, ArgumentError, GridError: an argument breaks a rule; the message names the argument.
    """
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
    batch = {x.shape[0] for x in (q, k, v)}
    if k.shape[1:3] != v.shape[1:3] or len(batch - {1}) > 1 or k.shape[3] != q.shape[3]:
        raise ShapeError(
            "q (B, Hq, Q, D), k (B, Hkv, K, D) and v (B, Hkv, K, Dv) must agree, got "
            f"{tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}; length comes after heads, and one batch row may "
            "stand for all"
        )
    if len(batch) > 1:  # views: nothing is copied
        size = next(iter(batch - {1}))
        q, k, v = (x.expand(size, -1, -1, -1) for x in (q, k, v))
    if q.shape[3] == 0:
        raise ShapeError(f"head_dim must be at least 1, got q {tuple(q.shape)}; pass a larger width")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ShapeError(
            f"query heads must be a multiple of key heads, got {q.shape[1]} and {k.shape[1]}; q, k and v are (batch, "
            "heads, length, width)"
        )
    if not 0.0 <= dropout_p < 1.0:
        raise ArgumentError(f"dropout_p must be in [0, 1), got {dropout_p}")
    if isinstance(mask, BoundMask) and mask._shape is not None and q_start is None:
        # The shape is known, so nothing is computed here: no reason to leave a compiled graph.
        bound = mask
        _check_bound(bound, q, k)
    else:
        bound = _bind(mask, q, k, q_start)
    if isinstance(bias, PositionBias):
        _check_position_bias(bias, bound, q)
    elif bias is not None:
        _check_bias(bias, q, k)
    if softcap is not None:
        softcap = _check_softcap(softcap)
    if sinks is not None:
        _check_sinks(sinks, q)
    factor: float = q.shape[-1] ** -0.5 if scale is None else scale
    acting: frozenset[str] = frozenset()
    if not torch.compiler.is_compiling() and _may_be_transformed():
        acting = transforms(lambda: (q, k, v, _bias_tensor(bias), sinks))
    return Call(q, k, v, bound, bias, factor, softcap, sinks, dropout_p, generator, return_lse, acting)


def _may_be_transformed() -> bool:
    """Return whether forward mode or a transform of `torch.func` is active at all: hardly ever."""
    return forward_ad._current_level >= 0 or _functorch.peek_interpreter_stack() is not None


def _bias_tensor(bias: torch.Tensor | PositionBias | None) -> torch.Tensor | None:
    """Return a tensor that shows which transforms act on the bias."""
    return bias.of_distances(torch.zeros(1, dtype=torch.int64)) if isinstance(bias, PositionBias) else bias


@outside_graph
def _bind(mask: Mask | BoundMask | None, q: torch.Tensor, k: torch.Tensor, q_start: Any) -> BoundMask:
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


def _check_position_bias(bias: PositionBias, bound: BoundMask, q: torch.Tensor) -> None:
    """Raise unless the bias has q's heads and batch rows, and the queries' positions are known."""
    if bias.heads != q.shape[1] or bias.batch not in (1, q.shape[0]):
        own, others = (
            (f"{bias.batch} x {bias.heads}", tuple(q.shape[:2])) if bias.batch > 1 else (bias.heads, q.shape[1])
        )
        raise ArgumentError(
            f"a position bias must be made for q's heads, got one for {own} and q with {others}; "
            "give it a slope or a column of the table for each query head"
        )
    if bound._positions is None and _holds_selection(bound.mask):
        raise ArgumentError(
            "a position bias needs the positions of queries and keys, got a selection that was joined with a mask and "
            f"bound anew, {bound.mask!r:.80}; join the masks first, then bind and select"
        )
    if not bound.grid.start_given:
        raise missing_q_start(bound.grid.q_len, bound.grid.kv_len, " and the bias depends on positions")


def _holds_selection(mask: Mask) -> bool:
    """Return whether a part of the mask is a selection, whose mask alone does not know its positions."""
    return getattr(mask, "selected", False) or any(_holds_selection(operand) for operand in mask.operands)


def _check_softcap(softcap: float) -> float:
    """Return the bound on the scores as a float, or raise."""
    if isinstance(softcap, bool) or not isinstance(softcap, (int, float)) or not 0 < softcap < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"softcap must be a positive number, got {softcap!r:.60}; leave it out for no bound")
    return float(softcap)


def _check_sinks(sinks: torch.Tensor, q: torch.Tensor) -> None:
    """Raise unless `sinks` has a floating point logit for each query head, on q's device."""
    fits = isinstance(sinks, torch.Tensor) and sinks.shape == (q.shape[1],) and sinks.is_floating_point()  # pyright: ignore[reportUnnecessaryIsInstance]
    if not fits or sinks.device != q.device:
        place = f" on {sinks.device}" if isinstance(sinks, torch.Tensor) else ""  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"sinks must be floating point of shape (Hq,) = ({q.shape[1]},) on q's device {q.device}, got "
            f"{describe(sinks)}{place}; pass one logit for each query head (first keys that all see are mw.sinks(n))"
        )


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
