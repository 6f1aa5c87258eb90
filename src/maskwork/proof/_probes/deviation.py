"""The first module whose output differs between two calls that should agree but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .._verdicts.outcome import Place
from .hooks import watching
from .subject import Subject, main_output
from .tolerance import change, tolerance

#: What a sequence was on entering or leaving a module, by (name, on entering, which tensor), and whom to blame.
Tensors = dict[tuple[str, bool, int], tuple[torch.Tensor, str]]

#: What to call, the positions to compare, and the row of the batch.
Side = tuple[Callable[[], Any], slice, int]


def deviation(subject: Subject, first: Side, second: Side) -> Place | None:
    """Where two calls part that should agree at these positions but for rounding.

    A call in pieces is put together along the positions, module by module. What differs already on entering a module
    is blamed on the one whose code called it.
    """
    if subject.module is None:
        return None
    one, attends = _tensors(subject.module, *first)
    two, _ = _tensors(subject.module, *second)
    for key, (a, blame) in one.items():
        b = two[key][0] if key in two else None
        if b is None or a.shape != b.shape or not len(a):
            continue
        if float(change(a, b).max()) > tolerance(a, subject.model):
            inside = any(other == blame or other.startswith(f"{blame}.") for other in attends)
            return Place(blame, blame in attends if blame == "" else inside)
    return None


def _tensors(module: torch.nn.Module, call: Callable[[], Any], part: slice, row: int) -> tuple[Tensors, set[str]]:
    pieces: dict[tuple[str, bool, int], tuple[list[torch.Tensor], str]] = {}

    def keep(name: str, entering: bool, values: list[Any], blame: str) -> None:
        for i, value in enumerate(values):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 3 and len(value) > row:
                pieces.setdefault((name, entering, i), ([], blame))[0].append(value[row].detach().clone())

    def entered(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str) -> None:
        if name:
            keep(name, True, pytree.tree_leaves((args, named)), running)

    def left(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str) -> None:
        keep(name, False, [main_output(out)], name)

    with watching(module, None, entered, left) as watch, torch.no_grad():
        call()
    found: Tensors = {}
    for key, (tensors, blame) in pieces.items():
        if all(t.shape[1:] == tensors[0].shape[1:] for t in tensors):
            found[key] = torch.cat(tensors)[part], blame
    return found, watch.attends
