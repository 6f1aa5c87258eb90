"""Lowerings are computed once, outside compiled graphs, and stored with the mask as tensors that any use may save."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from types import CodeType
from typing import Any, TypeVar, cast

import torch
from torch.utils import _pytree

from .._shared.plain_torch import plain_torch
from ..errors import ArgumentError
from ..masks import BoundMask, Mask, as_q_start

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

    `make` runs as `plain_torch`, whatever mode the caller is in: the next use may be in another.
    """
    require_bound(b)
    stored = b._lowerings.get(key, make) if b._lowerings.has(key) else _first_time(b, key, make)
    # While a graph is traced, the tracer takes stored tensors as constants itself.
    if torch.compiler.is_compiling() or not torch._C._len_torch_dispatch_stack():
        return stored
    return cast(T, _for_fake_mode(stored))


@outside_graph
def _first_time(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    with _undisturbed():
        _ = b.shape  # computed now: compiled code that reads the stored lowering reads the shape as well
        made = make()
        # A tensor of some other class belongs to whoever is tracing, and would poison the mask for good.
        return b._lowerings.get(key, lambda: made) if _is_plain(made) else made


def _undisturbed() -> AbstractContextManager[None]:
    """Return `plain_torch()`, or nothing where no mode and no transform is active: nearly always."""
    c: Any = torch._C
    stacks = c._len_torch_dispatch_stack() or c._len_torch_function_stack() or torch.is_inference_mode_enabled()
    return plain_torch() if stacks or c._functorch.peek_interpreter_stack() is not None else nullcontext()


def _is_plain(made: object) -> bool:
    """Return whether every tensor in a lowering is a plain one."""
    leaves = _pytree.tree_leaves(made)
    return all(type(leaf) is torch.Tensor for leaf in leaves if isinstance(leaf, torch.Tensor))


def _for_fake_mode(stored: object) -> object:
    """Return a stored lowering as the caller's fake tensors where its mode takes no others, else as it is."""
    mode: Any = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    if mode is None or mode.allow_non_fake_inputs:
        return stored
    return _pytree.tree_map_only(torch.Tensor, mode.from_tensor, stored)


#: Grids of few cells whose bound masks are kept for the next layer or step: (mask, grid's arguments, bound mask).
_recent: list[tuple[Mask, tuple[object, ...], BoundMask]] = []
_MOST_RECENT, _MOST_CELLS = 4, 1 << 24


@outside_graph
def bind_outside_graph(mask: Mask, q_len: int, kv_len: int, *, q_start: Any, batch: int, heads: int) -> BoundMask:
    """Bind a mask in code that may be compiled; arguments as for `mask.bind`.

    The last few are kept, so that the layers of a decoding step bind and lower the mask once.
    """
    # Of a mutable start, such as a tensor of lengths, the numbers count.
    start = q_start if q_start is None or type(q_start) is int else as_q_start(q_start)
    asked = (q_len, kv_len, start, batch, heads)
    for kept, grid, bound in tuple(_recent):
        if kept is mask and grid == asked:
            return bound
    bound = mask.bind(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
    with _undisturbed():
        _ = bound.spans  # computed now: on first use the code may be inside the graph
    # A function may read what changes between two calls.
    if math.prod(bound.shape) <= _MOST_CELLS and not mask.calls_function:
        _recent.insert(0, (mask, asked, bound))
        del _recent[_MOST_RECENT:]
    return bound
