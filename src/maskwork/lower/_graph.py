"""Functions that stay out of compiled graphs, in processes that need no compiler for that."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar, cast

import torch

Call = TypeVar("Call", bound=Callable[..., object])


def outside_graph(function: Call) -> Call:
    """`function`, kept out of compiled graphs: geometry is NumPy, which torch.compile would try to trace.

    As `torch.compiler.disable` does it, but for what that brings along: the compiler, two seconds of import, which a
    process is spared that compiles nothing.
    """
    disable = cast(Any, torch.compiler.disable)
    apart: Callable[..., object] | None = None

    @functools.wraps(function)
    def call(*args: object, **named: object) -> object:
        nonlocal apart
        if "torch._dynamo" not in sys.modules:
            return function(*args, **named)
        if apart is None:
            apart = cast(Callable[..., object], disable(function))
        return apart(*args, **named)

    if not _skipped(cast(Any, call).__code__):
        return cast(Call, disable(function))
    cast(Any, call)._torchdynamo_disable = True  # it is called, not traced
    return cast(Call, call)


def _skipped(code: CodeType) -> bool:
    """Have this code run as it is where it is called; False if this torch has another way to say so."""
    try:
        from torch._C._dynamo import eval_frame  # loaded with torch itself

        frames = cast(Any, eval_frame)
        action = frames._FrameAction
        frames.set_code_exec_strategy(code, frames._FrameExecStrategy(action.SKIP, action.DEFAULT))
    except (ImportError, AttributeError):
        return False
    return True
