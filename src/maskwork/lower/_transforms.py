"""Torch's transforms that act on a call: tangents of forward mode, and the wrappers of `torch.func`.

An operator without a rule for a transform would drop it (a derivative of 0) or fail inside torch. So each
implementation asks here, and refuses by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch.autograd import forward_ad

_functorch = cast(Any, torch._C)._functorch


def transforms(tensors: Callable[[], Iterable[torch.Tensor | None]]) -> frozenset[str]:
    """List the transforms that act on any of the tensors: "jvp", "vmap", "grad", and "nested" for one inside another.

    >>> transforms(lambda: [torch.ones(2)])
    frozenset()
    >>> seen = []
    >>> torch.func.grad(lambda x: [seen.append(transforms(lambda: [x])), x.sum()][1])(torch.ones(2)) is not None
    True
    >>> seen
    [frozenset({'grad'})]
    """
    # Nearly every call: no transform is active at all.
    if torch.compiler.is_compiling() or (forward_ad._current_level < 0 and _functorch.peek_interpreter_stack() is None):
        return frozenset()
    found: set[str] = set()
    for tensor in tensors():
        x = tensor
        if x is not None and forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None:
            found.add("jvp")
        while x is not None and _functorch.is_functorch_wrapped_tensor(x):
            if _functorch.is_batchedtensor(x):
                found.add("vmap")
            elif _functorch.is_gradtrackingtensor(x):
                found.add("grad")  # the wrapper of `jvp` is the same
            x = _functorch.get_unwrapped(x)
            if forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None:
                found.add("jvp")
    # Of one transform inside another, torch does not show all.
    if found and len(_functorch.get_interpreter_stack() or ()) > 1:
        found.add("nested")
    return frozenset(found)
