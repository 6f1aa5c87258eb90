"""Lowerings are computed once, outside compiled graphs, and stored with the mask as tensors that any use may save."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Hashable
from types import CodeType
from typing import Any, TypeVar, cast

import torch

from ..errors import ArgumentError
from ..masks import BoundMask, Mask

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., object])


def outside_graph(function: Function) -> Function:
    """Return `function`, kept out of compiled graphs: geometry is NumPy, which torch.compile would try to trace.

    `torch.compiler.disable` does the same, but imports the compiler, which takes two seconds. This function spares them
    to a process that compiles nothing.
    """
    disable = cast(Any, torch.compiler.disable)
    disabled: Callable[..., object] | None = None

    @functools.wraps(function)
    def call(*args: object, **options: object) -> object:
        nonlocal disabled
        # Without dynamo nothing is traced. With dynamo, `disable` costs no import any more.
        if "torch._dynamo" not in sys.modules:
            return function(*args, **options)
        if disabled is None:
            disabled = cast(Callable[..., object], disable(function))
        return disabled(*args, **options)

    if not _skip_tracing(cast(Any, call).__code__):
        return cast(Function, disable(function))
    cast(Any, call)._torchdynamo_disable = True  # dynamo calls the function and does not trace it
    return cast(Function, call)


def _skip_tracing(code: CodeType) -> bool:
    """Mark code as code that dynamo runs without tracing; return False if this version of torch has another way."""
    try:
        from torch._C._dynamo import eval_frame  # loaded with torch itself

        frames = cast(Any, eval_frame)
        action = frames._FrameAction
        frames.set_code_exec_strategy(code, frames._FrameExecStrategy(action.SKIP, action.DEFAULT))
    except (ImportError, AttributeError):
        return False
    return True


def require_bound(b: object) -> None:
    """Raise unless `b` is a bound mask: every lowering takes one."""
    if not isinstance(b, BoundMask):
        fix = "bind it first: mask.bind(q_len, kv_len, q_start=…)" if isinstance(b, Mask) else "build one from atoms"
        raise ArgumentError(f"a lowering takes a bound mask, got {type(b).__name__}; {fix}")


def lowered(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    """Return the result of `make`, which is called on first use of `key`; a stored result breaks no compiled graph.

    `make` runs outside inference mode, whatever mode the caller is in: autograd could never save a tensor that was
    made in inference mode, and the mask that stores the tensor may be trained with after an evaluation.
    """
    require_bound(b)
    if b._lowerings.has(key):
        return b._lowerings.get(key, make)
    return _first_time(b, key, make)


@outside_graph
def _first_time(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    _ = b.shape  # computed now: compiled code that reads the stored lowering reads the shape as well

    def outside_inference_mode() -> T:
        with torch.inference_mode(False):
            return make()

    return b._lowerings.get(key, outside_inference_mode)


@outside_graph
def bind_outside_graph(
    mask: Mask, q_len: int, kv_len: int, *, q_start: int | None, batch: int, heads: int
) -> BoundMask:
    """Bind a mask in code that may be compiled; arguments as for `mask.bind`."""
    bound = mask.bind(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
    _ = bound.spans  # computed now: on first use the code may be inside the graph
    return bound
