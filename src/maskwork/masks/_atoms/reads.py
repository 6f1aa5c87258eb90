"""What a user's mask function reads of b, h, q and k, seen from the data's flow and never from samples."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..._shared.plain_torch import plain_torch

#: Functions of tensors that read a tensor's shape and dtype alone.
_LIKE = ("new_ones", "new_zeros", "new_full", "new_empty", "new_tensor")
_LIKE_TORCH = ("ones_like", "zeros_like", "full_like", "empty_like")

#: Products: one with the number 0 is 0, whatever the tensor.
_PRODUCTS = ("mul", "multiply", "__mul__", "__rmul__")


@dataclass(frozen=True)
class Reads:
    """The reads of a function.

    Attributes:
        letters: of "bhqk", those on which its result may depend.
        sizes: by letter, the length of the shortest table that the function indexes with it, None = no such table.
        branches: whether the function decides in Python on the number of a batch row or head, so that nothing can be
            seen of the ways that it did not take; `letters` is then all.
        fails: whether the function cannot be called at all under `torch.vmap`; its evaluation shows how.
    """

    letters: str
    sizes: dict[str, int]
    branches: bool = False
    fails: bool = False


def reads_of(fn: Callable[..., Any]) -> Reads:
    """Trace `fn(b, h, q_idx, kv_idx)`, each argument under a level of `torch.vmap` of its own.

    A result carries the levels of all that it was computed from, so that no dependence is missed. A function that
    fails under vmap decides in Python, or is at fault: then it is taken to read everything.
    """
    with suppress(Exception):
        return _trace(fn, "bhqk")
    # With numbers for b and h the function may work: its branches are in Python.
    with suppress(Exception):
        return Reads("bhqk", _trace(fn, "qk").sizes, branches=True)
    return Reads("qk", {}, fails=True)


def _trace(fn: Callable[..., Any], batched: str) -> Reads:
    torch: Any = import_module("torch")
    functorch = torch._C._functorch
    found: list[Reads] = []

    def innermost(*indices: Any) -> Any:
        level = {functorch.maybe_get_level(x): letter for letter, x in zip("bhqk", indices, strict=True)}
        sizes: dict[str, int] = {}
        with _watching(indices, sizes):
            cell = fn(*indices)
        letters, x = set[str](), cell
        while isinstance(x, torch.Tensor) and functorch.is_functorch_wrapped_tensor(x):
            letters.add(level.get(functorch.maybe_get_level(x), ""))
            x = functorch.get_unwrapped(x)
        found.append(Reads("".join(letter for letter in "bhqk" if letter in letters), sizes))
        return cell if isinstance(cell, torch.Tensor) else torch.tensor(cell)

    run: Any = innermost
    for position in (3, 2, 1, 0):
        if "bhqk"[position] in batched:
            run = torch.vmap(run, tuple(0 if i == position else None for i in range(4)))
    with plain_torch(), torch._C._EnableTorchFunction(), torch.device("cpu"):
        run(*(torch.zeros(1 if letter in batched else (), dtype=torch.int64) for letter in "bhqk"))
    return found[0]


def _watching(indices: tuple[Any, ...], sizes: dict[str, int]) -> Any:
    """Return a mode in which tables that are indexed with an argument are measured, and `like` functions read none."""
    torch: Any = import_module("torch")
    overrides = import_module("torch.overrides")
    products = {getattr(torch.Tensor, name) for name in _PRODUCTS}
    like = {getattr(torch.Tensor, name) for name in _LIKE} | {getattr(torch, name) for name in _LIKE_TORCH}

    class IndexFollower(overrides.TorchFunctionMode):
        """A mode that sees each call of torch inside the function."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in like:
                template = torch.empty(args[0].shape, dtype=args[0].dtype, device=args[0].device)
                args = (template, *args[1:])
            elif func in products and any(type(part) is int and part == 0 for part in args):
                tensor = next(part for part in args if isinstance(part, torch.Tensor))
                return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            elif func is torch.Tensor.__getitem__:
                index = args[1] if isinstance(args[1], tuple) else (args[1],)
                for axis, part in enumerate(index):
                    for letter, argument in zip("bhqk", indices, strict=True):
                        if part is argument:
                            size = int(args[0].shape[axis])
                            sizes[letter] = min(size, sizes.get(letter, size))
            return func(*args, **(kwargs or {}))

    return IndexFollower()
