"""The first module at whose output a forbidden influence appears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .._verdicts.outcome import Place
from .axes import find_axes
from .hooks import watching
from .replay import LAST_CHANGED
from .subject import Subject, main_output
from .substitutes import substitutes


@dataclass
class _Event:
    name: str
    #: The module to blame if this is the first to differ: itself on leaving, whose code called it on entering.
    blame: str
    values: list[torch.Tensor]


def locate(
    subject: Subject,
    changed: torch.Tensor,
    watched: torch.Tensor,
    run: Callable[[Subject, torch.Tensor], Any] | None = None,
    rows: int = 3,
) -> Place | None:
    """Follow a change of the inputs marked in bool `(L,)` to the first module that lets it reach a `watched` position.

    None when no module's tensors show it: the model is a function, or it hides its positions from its modules. More
    `rows` than one tell apart axes of the same length.
    """
    if subject.module is None:
        return None
    call = run or (lambda s, inputs: s.run(inputs))
    # A substitution may by chance do nothing, or nothing that bits show.
    for other in substitutes(subject, 3):
        before = subject.rows(rows)
        before[LAST_CHANGED:, -1] = other[-1]
        after = before.clone()
        after[0, changed] = other[changed]
        if (place := _first_to_differ(subject, before, after, watched, call)) is not None:
            return place
    return None


def locate_rows(subject: Subject, before: torch.Tensor, after: torch.Tensor, row: int) -> Place | None:
    """The first module that lets other rows of the batch change this one."""
    if subject.module is None:
        return None
    everywhere = torch.ones(before.shape[1], dtype=torch.bool)
    return _first_to_differ(subject, before, after, everywhere, lambda s, x: s.run(x), row)


def _first_to_differ(
    subject: Subject, first: torch.Tensor, second: torch.Tensor, watched: torch.Tensor, call: Any, row: int = 0
) -> Place | None:
    before, attends = _events(subject, first, watched, call, row)
    after, _ = _events(subject, second, watched, call, row)
    for old, new in zip(before, after, strict=False):
        if old.name != new.name or old.blame != new.blame:
            break
        if any(not _equal(a, b) for a, b in zip(old.values, new.values, strict=False)):
            inside = any(name == old.blame or name.startswith(f"{old.blame}.") for name in attends)
            return Place(old.blame, old.blame in attends if old.blame == "" else inside)
    return None


def _events(
    subject: Subject, inputs: torch.Tensor, watched: torch.Tensor, call: Any, row: int
) -> tuple[list[_Event], set[str]]:
    length, rows = len(watched), len(inputs)
    events: list[_Event] = []

    def take(tensors: list[Any]) -> list[torch.Tensor]:
        kept: list[torch.Tensor] = []
        for tensor in tensors:
            if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                continue
            if tensor.ndim > 3 and tuple(tensor.shape[-2:]) == (length, length):
                continue  # scores or a mask: a forbidden column is still there, to be masked later
            axes = find_axes(tensor, rows, length, sure=False)
            if axes is not None:
                kept.append(axes.front(tensor.detach(), rows, length)[row][watched].clone())
        return kept

    def entered(
        name: str, module: torch.nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str
    ) -> None:
        if name:
            events.append(_Event(name, running, take(pytree.tree_leaves((args, named)))))

    def left(
        name: str, module: torch.nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str
    ) -> None:
        events.append(_Event(name, name, take([main_output(out)])))

    assert subject.module is not None
    with watching(subject.module, length, entered, left) as watch, torch.no_grad():
        call(subject, inputs)
    return events, watch.attends


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
