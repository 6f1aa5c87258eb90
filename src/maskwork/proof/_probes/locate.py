"""The first module at whose output a fault appears: a changed bit, a deviation beyond rounding, or a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils import _pytree as pytree

from .._verdicts.report import Site
from .replay import LAST_CHANGED, find_axes
from .subject import Subject, main_output, substitutes
from .survey import Watch, watching
from .tolerance import change, tolerance
from .whole_model import embedded, projected


@dataclass
class _Event:
    """The tensors of one module on entering or on leaving it.

    Attributes:
        suspect: the module to name if these tensors are the first to differ: on leaving, the module itself; on
            entering, the module whose code called it.
    """

    name: str
    suspect: str
    values: list[torch.Tensor]


def locate(
    subject: Subject,
    changed: torch.Tensor,
    watched: torch.Tensor,
    run: Callable[[Subject, torch.Tensor], Any] | None = None,
    rows: int = 3,
) -> Site | None:
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
        if (site := _first_to_differ(subject, before, after, watched, call)) is not None:
            return site
    return None


def locate_rows(subject: Subject, before: torch.Tensor, after: torch.Tensor, row: int) -> Site | None:
    """Find the first module that lets other rows of the batch change this one."""
    if subject.module is None:
        return None
    everywhere = torch.ones(before.shape[1], dtype=torch.bool)
    return _first_to_differ(subject, before, after, everywhere, lambda s, x: s.run(x), row)


def _first_to_differ(
    subject: Subject, first: torch.Tensor, second: torch.Tensor, watched: torch.Tensor, call: Any, row: int = 0
) -> Site | None:
    before, watch = _events(subject, first, watched, call, row)
    after, _ = _events(subject, second, watched, call, row)
    # The two calls run the same modules in the same order, until a change of data takes another path.
    for old, new in zip(before, after, strict=False):
        if old.name != new.name or old.suspect != new.suspect:
            break
        if any(not _equal(a, b) for a, b in zip(old.values, new.values, strict=False)):
            return _site(old.suspect, watch)
    return None


def _site(module: str, watch: Watch) -> Site:
    # The model itself attends only by its own code: that a part of it does says nothing.
    return Site(module, module in watch.attends if module == "" else watch.attends_within(module))


def _events(
    subject: Subject, inputs: torch.Tensor, watched: torch.Tensor, call: Any, row: int
) -> tuple[list[_Event], Watch]:
    length, rows = len(watched), len(inputs)
    events: list[_Event] = []

    def take(tensors: list[Any]) -> list[torch.Tensor]:
        values: list[torch.Tensor] = []
        for tensor in tensors:
            if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                continue
            if tensor.ndim > 3 and tuple(tensor.shape[-2:]) == (length, length):
                continue  # scores or a mask: a forbidden column is still there, to be masked later
            # Only tensors with a position axis can be compared at the watched positions.
            axes = find_axes(tensor, rows, length, sure=False)
            if axes is not None:
                values.append(axes.front(tensor.detach(), rows, length)[row][watched].clone())
        return values

    def entered(
        name: str, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, running: str
    ) -> None:
        if name:
            events.append(_Event(name, running, take(pytree.tree_leaves((args, kwargs)))))

    def left(
        name: str, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, running: str
    ) -> None:
        events.append(_Event(name, name, take([main_output(out)])))

    assert subject.module is not None
    with watching(subject.module, length, entered, left) as watch, torch.no_grad():
        call(subject, inputs)
    return events, watch


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


class ComparedCall(NamedTuple):
    """A call whose tensors are compared with another call's: at which positions, and in which row of its batch."""

    run: Callable[[], Any]
    positions: slice = slice(None)
    row: int = 0


#: (module's name, whether on entering, number of the tensor) -> the tensor `(L, …)` and the module to name.
_CallTensors = dict[tuple[str, bool, int], tuple[torch.Tensor, str]]


def locate_deviation(subject: Subject, first: ComparedCall, second: ComparedCall) -> Site | None:
    """Find the first module at which two calls part that should agree, but for rounding, at these positions.

    The pieces of a call in pieces are joined along the positions, module by module.
    """
    if subject.module is None:
        return None
    expected, watch = _joined_tensors(subject.module, first)
    observed, _ = _joined_tensors(subject.module, second)
    for key, (a, module) in expected.items():
        b = observed[key][0] if key in observed else None
        if b is None or a.shape != b.shape or not len(a):
            continue
        if float(change(a, b).max()) > tolerance(a, subject.model):
            return _site(module, watch)
    return None


def _joined_tensors(module: torch.nn.Module, call: ComparedCall) -> tuple[_CallTensors, Watch]:
    pieces: dict[tuple[str, bool, int], tuple[list[torch.Tensor], str]] = {}

    def record(name: str, entering: bool, values: list[Any], suspect: str) -> None:
        for i, value in enumerate(values):
            is_data = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 3
            if is_data and len(value) > call.row:
                tensors, _ = pieces.setdefault((name, entering, i), ([], suspect))
                tensors.append(value[call.row].detach().clone())

    def entered(name: str, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, running: str) -> None:
        if name:
            record(name, True, pytree.tree_leaves((args, kwargs)), running)

    def left(name: str, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, running: str) -> None:
        record(name, False, [main_output(out)], name)

    with watching(module, None, entered, left) as watch, torch.no_grad():
        call.run()
    joined: _CallTensors = {}
    for key, (tensors, suspect) in pieces.items():
        if all(t.shape[1:] == tensors[0].shape[1:] for t in tensors):
            joined[key] = torch.cat(tensors)[call.positions], suspect
    return joined, watch


def locate_gradient(subject: Subject, query: int, key: int) -> Site | None:
    """Find the first module at whose output position `query` has a gradient at input `key`."""
    if subject.module is None:
        return None
    events: list[tuple[str, torch.Tensor]] = []

    def record(suspect: str, value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.requires_grad and value.shape[:2] == (1, subject.length):
            events.append((suspect, value[0, query]))

    def entered(name: str, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, running: str) -> None:
        if name:
            record(running, args[0] if args else None)

    def left(name: str, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, running: str) -> None:
        record(name, main_output(out))

    with torch.enable_grad(), embedded(subject, subject.rows(1)) as (inputs, leaves):
        with watching(subject.module, subject.length, entered, left) as watch:
            subject.run(inputs)
        # Events are in the order of the forward pass, so the first gradient is where the flow enters.
        for suspect, value in events:
            grads = torch.autograd.grad(projected(value), leaves, allow_unused=True, retain_graph=True)
            if any(g is not None and bool(g.reshape(subject.length, -1)[key].any()) for g in grads):
                return _site(suspect, watch)
    return None
