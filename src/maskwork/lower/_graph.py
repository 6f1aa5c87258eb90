"""Functions that stay out of compiled graphs, without loading the compiler in processes that compile nothing."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., object])


def outside_graph(function: Function) -> Function:
    """Keep `function` out of compiled graphs: geometry is NumPy, which torch.compile would try to trace.

    `torch.compiler.disable` does the same, but imports the compiler, which takes two seconds. Here the compiler is
    imported only in processes that compile something.
    """
    disable = cast(Any, torch.compiler.disable)
    disabled: Callable[..., object] | None = None

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        nonlocal disabled
        # No compiler was loaded, so nothing is compiled: call the function directly.
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if disabled is None:
            disabled = cast(Callable[..., object], disable(function))
        return disabled(*args, **kwargs)

    if not _skip_in_dynamo(cast(Any, wrapper).__code__):
        return cast(Function, disable(function))
    cast(Any, wrapper)._torchdynamo_disable = True  # dynamo calls the wrapper and does not trace it
    return cast(Function, wrapper)


def _skip_in_dynamo(code: CodeType) -> bool:
    """Register `code` to run untraced, and return whether this version of torch has the (private) means for it."""
    try:
        from torch._C._dynamo import eval_frame  # part of torch itself: loads no compiler

        frames = cast(Any, eval_frame)
        action = frames._FrameAction
        frames.set_code_exec_strategy(code, frames._FrameExecStrategy(action.SKIP, action.DEFAULT))
    except (ImportError, AttributeError):
        return False
    return True
