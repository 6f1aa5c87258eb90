"""Which implementation `impl="auto"` takes, and why not each other one."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from ..errors import ArgumentError, CannotExpress
from ..lower import outside_graph
from ..masks import BoundMask, Mask
from . import _call
from ._bias import PositionBias
from ._call import Call, Implementation, check
from ._flex import AUTO_PAIRS, FLEX
from ._reference import REFERENCE
from ._sdpa import SDPA
from ._tiled import CELLS, TILED

#: From the fastest to the most general.
IMPLEMENTATIONS: MappingProxyType[str, Implementation] = MappingProxyType(
    {implementation.name: implementation for implementation in (FLEX, TILED, SDPA, REFERENCE)}
)

#: Fewer (B, H, Q, K) cells go to SDPA: no other implementation pays for itself below, and asking each takes time.
SMALL_CELLS = min(CELLS, AUTO_PAIRS)


@dataclass(frozen=True)
class Plan:
    """Choice of `"auto"`.

    Attributes:
        impl: the implementation that `"auto"` takes.
        why_not: for each other implementation, why `"auto"` does not take it.
    """

    impl: str
    why_not: MappingProxyType[str, str]

    def __str__(self) -> str:
        reasons = "".join(f"\n  not {name}: {reason}" for name, reason in self.why_not.items())
        return f"{self.impl}{reasons}"


def plan(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: Mask | BoundMask | None = None,
    *,
    q_start: Any = None,
    bias: torch.Tensor | PositionBias | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    return_lse: bool = False,
) -> Plan:
    """Tell which implementation `mw.attention(q, k, v, mask)` takes, and why; arguments and errors as there.

    >>> import torch, maskwork as mw
    >>> q = torch.zeros(1, 2, 8, 4)
    >>> print(mw.plan(q, q, q, mw.causal()))
    sdpa
      not flex: auto compiles it on CUDA only; ask for it by name
      not tiled: SDPA needs no mask for this one
      not reference: slower: dense, in float64
    """
    call = check(
        q, k, v, mask,
        q_start=q_start, bias=bias, scale=None, softcap=softcap, sinks=sinks, dropout_p=0.0, generator=None,
        return_lse=return_lse,
    )  # fmt: skip
    chosen = choose(call)
    return Plan(chosen, _reasons(call, chosen))


@outside_graph
def choose(call: Call) -> str:
    """Return the name of the first implementation that can compute the call and is worth it.

    Raises:
        CannotExpress: only a dense mask beyond the budget is left.
    """
    if call.cells < SMALL_CELLS and _takes(SDPA, call):
        return _remember(SDPA.name, call)
    for name, implementation in IMPLEMENTATIONS.items():
        if _takes(implementation, call):
            return _remember(name, call)
    raise CannotExpress(
        f"'auto' holds no dense mask of more than {_call.MAX_DENSE} cells, got {call.mask!r}, which needs one "
        f"({'; '.join(f'{name}: {reason}' for name, reason in _reasons(call).items())}); "
        "cut the sequence, or ask for impl='reference' by name"
    )


def take(impl: str, call: Call) -> Implementation:
    """Return the implementation of that name, which never falls back, or the choice of `"auto"`.

    Raises:
        ArgumentError: there is no implementation of that name. CannotExpress: it cannot compute the call.
    """
    if impl == "auto":
        return IMPLEMENTATIONS[_chosen_before(call) or choose(call)]
    if impl not in IMPLEMENTATIONS:
        names = ", ".join(repr(name) for name in ("auto", *IMPLEMENTATIONS))
        raise ArgumentError(f"impl must be one of {names}, got {impl!r}")
    reason = IMPLEMENTATIONS[impl].cannot(call)
    if reason is not None:
        able = next(name for name, implementation in IMPLEMENTATIONS.items() if implementation.cannot(call) is None)
        raise CannotExpress(f"impl={impl!r} cannot express this call: {reason}; impl={able!r} can")
    return IMPLEMENTATIONS[impl]


# A whole graph cannot leave to choose. So a choice is noted with the mask, and a call that is compiled takes it again:
# a mask that was bound and used before, at the first step, breaks no graph.


def _remember(name: str, call: Call) -> str:
    call.mask._lowerings.get(("chosen", call.q.device.type), lambda: name)
    return name


def _chosen_before(call: Call) -> str | None:
    """Return what `choose` took for this mask earlier, if the call is traced and that can compute it too."""
    if not torch.compiler.is_compiling() or not call.mask._lowerings.has(("chosen", call.q.device.type)):
        return None
    name: str = call.mask._lowerings.get(("chosen", call.q.device.type), str)
    return name if IMPLEMENTATIONS[name].cannot(call) is None else None


def _takes(implementation: Implementation, call: Call) -> bool:
    return implementation.cannot(call) is None and implementation.not_worth_it(call) is None


@outside_graph
def _reasons(call: Call, chosen: str | None = None) -> MappingProxyType[str, str]:
    """Return why each implementation but the chosen one is not taken."""
    return MappingProxyType({
        name: implementation.cannot(call) or implementation.not_worth_it(call) or implementation.slower
        for name, implementation in IMPLEMENTATIONS.items()
        if name != chosen
    })  # fmt: skip
