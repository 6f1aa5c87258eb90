"""Which implementation `impl="auto"` takes, and why not each other one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch

from ..errors import ArgumentError, CannotExpress
from ..lower import SdpaArguments, outside_graph, sdpa_shortcut
from ..masks import BoundMask, Mask
from . import _flex, _reference, _sdpa, _tiled
from ._call import Call, check

Attend = Callable[[Call], tuple[torch.Tensor, torch.Tensor | None]]

#: Most (B, H, Q, K) cells that `auto` lets an implementation hold as a dense mask: 2**28, 256 MiB of bool.
MAX_DENSE = 1 << 28

#: From the fastest to the most general.
IMPLEMENTATIONS: MappingProxyType[str, Attend] = MappingProxyType(
    {"flex": _flex.attend, "tiled": _tiled.run_tiles, "sdpa": _sdpa.attend, "reference": _reference.attend}
)
_CANNOT: MappingProxyType[str, Callable[[Call], str | None]] = MappingProxyType(
    {"flex": _flex.cannot, "tiled": _tiled.cannot, "sdpa": _sdpa.cannot, "reference": _reference.cannot}
)
_SLOWER = MappingProxyType({
    "flex": "slower", "tiled": "slower", "sdpa": "slower here",
    "reference": "slower: dense, in float64",
})  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What `"auto"` takes, and for each other implementation why it was not taken."""

    impl: str
    why_not: MappingProxyType[str, str]

    def __str__(self) -> str:
        others = "".join(f"\n  not {name}: {reason}" for name, reason in self.why_not.items())
        return f"{self.impl}{others}"


def plan(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None = None,
    *,
    q_start: int | None = None,
    return_lse: bool = False,
) -> Plan:
    """The implementation that `mw.attention(q, k, v, mask)` takes; shapes and errors as there.

    >>> import torch, maskwork as mw
    >>> q = torch.zeros(1, 2, 8, 4)
    >>> print(mw.plan(q, q, q, mw.causal()))
    sdpa
      not flex: auto compiles it on CUDA only; ask for it by name
      not tiled: SDPA needs no mask for this one
      not reference: slower: dense, in float64
    """
    return choose(
        check(
            q,
            k,
            v,
            mask,
            q_start=q_start,
            bias=None,
            scale=None,
            dropout_p=0.0,
            generator=None,
            return_lse=return_lse,
        )
    )


@outside_graph
def choose(call: Call) -> Plan:
    """The first implementation that can express the call within the dense budget."""
    why_not: dict[str, str] = {}
    chosen = None
    for name in IMPLEMENTATIONS:
        reason = _CANNOT[name](call) or _not_chosen(name, call)
        if reason is None and chosen is None:
            chosen = name
        else:
            why_not[name] = reason or _SLOWER[name]
    if chosen is None:
        raise CannotExpress(
            f"'auto' holds no dense mask of more than {MAX_DENSE} cells, {call.mask!r} needs one "
            f"({'; '.join(f'{name}: {reason}' for name, reason in why_not.items())}); "
            "cut the sequence, or ask for impl='reference' by name"
        )
    return Plan(chosen, MappingProxyType(why_not))


def take(impl: str, call: Call) -> Attend:
    """The implementation asked for by name, which never falls back, or the one that `"auto"` chooses."""
    if impl == "auto":
        return IMPLEMENTATIONS[choose(call).impl]
    if impl not in IMPLEMENTATIONS:
        known = ", ".join(repr(name) for name in ("auto", *IMPLEMENTATIONS))
        raise ArgumentError(f"impl must be one of {known}, got {impl!r}")
    reason = _CANNOT[impl](call)
    if reason is not None:
        able = next(name for name in IMPLEMENTATIONS if _CANNOT[name](call) is None)
        raise CannotExpress(f"impl={impl!r} cannot express this call: {reason}; impl={able!r} can")
    return IMPLEMENTATIONS[impl]


def _not_chosen(name: str, call: Call) -> str | None:
    """Why `auto` passes over an implementation that could, or None."""
    if name in ("sdpa", "reference"):
        return _too_dense(name, call)
    if name == "flex" and (reason := _flex.not_worth_it(call)) is not None:
        return reason
    if _CANNOT["sdpa"](call) is not None:
        return None
    shortcut = _shortcut(call)
    if shortcut is not None and not (name == "tiled" and shortcut["is_causal"] and _tiled.beats_is_causal(call)):
        return "SDPA needs no mask for this one"
    return _tiled.not_worth_it(call) if name == "tiled" and _too_dense("sdpa", call) is None else None


def _shortcut(call: Call) -> SdpaArguments | None:
    """What SDPA takes in place of a dense mask, or None where it needs one."""
    if call.bias is not None:
        return None
    return call.mask._lowerings.get(("sdpa shortcut",), lambda: sdpa_shortcut(call.mask))


def _too_dense(name: str, call: Call) -> str | None:
    b, h, q_len, kv_len = call.mask.shape
    if name == "reference" or isinstance(call.bias, torch.Tensor):
        b, h = call.q.shape[:2]
    elif call.bias is not None:
        h = call.q.shape[1]
    cells = b * h * q_len * kv_len
    if cells <= MAX_DENSE or (name == "sdpa" and _shortcut(call) is not None):
        return None
    return f"its dense mask would hold {cells} cells, over the {MAX_DENSE} that auto allows"
