"""The first module whose output differs between two calls that should agree but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ._compare import change, tolerance
from ._hooks import watching
from ._locate import Place
from ._subject import Subject, main_output

#: (name, how often it was called before) -> what it returned for one sequence, along its positions
Outputs = dict[tuple[str, int], torch.Tensor]


def deviation(
    subject: Subject, first: tuple[Callable[[], Any], slice, int], second: tuple[Callable[[], Any], slice, int]
) -> Place | None:
    """Where two calls part; each is (what to call, its positions to compare, its row), the same positions in both.

    A call in pieces is put together along the positions, module by module.
    """
    if subject.module is None:
        return None
    one, attends = _outputs(subject.module, *first)
    two, _ = _outputs(subject.module, *second)
    for name, count in one:
        a, b = one[name, count], two.get((name, count))
        if b is None or a.shape != b.shape or not len(a):
            continue
        if float(change(a, b).max()) > tolerance(a, subject.model):
            inside = any(other == name or other.startswith(f"{name}.") for other in attends)
            return Place(name, name in attends if name == "" else inside)
    return None


def _outputs(module: torch.nn.Module, call: Callable[[], Any], part: slice, row: int) -> tuple[Outputs, set[str]]:
    pieces: dict[str, list[torch.Tensor]] = {}

    def left(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str) -> None:
        value = main_output(out)
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim >= 3 and len(value) > row:
            pieces.setdefault(name, []).append(value[row].detach().clone())

    with watching(module, -1, left=left) as watch, torch.no_grad():
        call()
    found: Outputs = {}
    for name, tensors in pieces.items():
        same = all(t.shape[1:] == tensors[0].shape[1:] for t in tensors)
        if len(tensors) > 1 and not same:
            continue
        whole = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        found[name, 0] = whole[part]
    return found, watch.attends
