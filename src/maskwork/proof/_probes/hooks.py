"""A model's modules as they are entered and left in a forward pass, and which of them attends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

#: (name, module, args, named arguments, output or None on entering, name of the module whose code was running)
Visitor = Callable[[str, torch.nn.Module, tuple[Any, ...], dict[str, Any], Any, str], None]

_ATTENDS = ("scaled_dot_product_attention", "flex_attention", "multi_head_attention_forward")


class Watch:
    """What a watched forward pass told: the modules whose own code attends, not that of their parts."""

    def __init__(self) -> None:
        self.attends: set[str] = set()
        self.stack: list[str] = []
        #: While True, what runs is a replay and is not watched.
        self.busy = False


@contextmanager
def watching(
    model: torch.nn.Module, length: int | None, entered: Visitor | None = None, left: Visitor | None = None
) -> Iterator[Watch]:
    """Call `entered` and `left` for every module of a forward pass of `length` positions; None: of several pieces."""
    watch = Watch()
    handles: list[Any] = []

    def attach(name: str, module: torch.nn.Module) -> None:
        def before(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            if watch.busy:
                return
            if entered is not None:
                entered(name, module, args, named, None, watch.stack[-1] if watch.stack else "")
            watch.stack.append(name)

        def after(_: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
            if watch.busy:
                return
            watch.stack.pop()
            if left is not None:
                left(name, module, args, named, out, watch.stack[-1] if watch.stack else "")

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))

    for name, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):  # these take no hooks
            attach(name, module)
    try:
        with _Attends(watch, length):
            yield watch
    finally:
        for handle in handles:
            handle.remove()


class _Attends(TorchFunctionMode):
    """Marks the module in whose code attention runs: by name, or as a softmax over one score per key."""

    def __init__(self, watch: Watch, length: int | None) -> None:
        super().__init__()
        self.watch, self.length = watch, length

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if self.watch.stack and not self.watch.busy:
            name = getattr(func, "__name__", "")
            scores = args[0] if name in ("softmax", "_softmax") and args and isinstance(args[0], torch.Tensor) else None
            if name in _ATTENDS or (scores is not None and self._one_per_key(scores)):
                self.watch.attends.add(self.watch.stack[-1])
        return func(*args, **(kwargs or {}))

    def _one_per_key(self, scores: torch.Tensor) -> bool:
        if self.length is None:  # pieces of a cached run: a score for each head, query and key
            return scores.ndim == 4
        # A model may put a prompt of its own before the sequence.
        return scores.ndim >= 3 and scores.shape[-1] == scores.shape[-2] >= self.length
