"""The whole model by gradients: on which inputs an output depends, however weakly; exact zeros are required."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from .._verdicts.outcome import Place
from .black_box import WORK, work
from .hooks import watching
from .subject import Subject, main_output

_MOST_ROWS = 16
#: Bytes of a copy in float64.
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Flow:
    """What gradients show of a whole model."""

    #: float64 `(Q, K)`: size of the gradient; 0 for outputs that were not asked.
    size: torch.Tensor
    #: How many outputs were asked.
    asked: int
    precision: torch.dtype
    #: Forbidden gradients that are rounding: far larger in the model's own dtype.
    rounding: int
    #: What was asked: a copy in float64, or the model itself where it refuses that.
    subject: Subject


def flow(subject: Subject, reach: torch.Tensor, queries: torch.Tensor | None = None) -> Flow | None:
    """Gradients at `queries`, else at as many outputs as are affordable; None when none can be taken."""
    if queries is None:
        some = (~reach).any(1).nonzero().flatten()
        count = min(len(some), int(max(2, WORK // (3 * work(subject)))))
        queries = some[torch.linspace(0, len(some) - 1, count).long().unique()]
    wide = _float64(subject)
    found = None if wide is None else _sizes(wide, queries)
    used = subject if found is None or wide is None else wide
    found = _sizes(subject, queries) if found is None else found
    if found is None:
        return None
    sizes, precision = found
    forbidden = ~reach[queries]
    rounding = torch.zeros_like(forbidden)
    if used is wide and (faint := at_rounding_level(sizes) & forbidden).any():
        native = _sizes(subject, queries)
        rounding = faint & (native[0] > 1e3 * sizes) if native is not None else rounding
    size = torch.zeros(reach.shape, dtype=torch.float64)
    size[queries] = torch.where(rounding, 0.0, sizes)
    return Flow(size, len(queries), precision, int(rounding.sum()), used)


def at_rounding_level(gradient: torch.Tensor) -> torch.Tensor:
    """bool: gradients in float64 so small beside the largest that they may be rounding."""
    return (gradient > 0) & (gradient <= 2**10 * torch.finfo(torch.float64).eps * gradient.max())


def locate_gradient(subject: Subject, query: int, key: int) -> Place | None:
    """The first module at whose output position `query` has a gradient at input `key`."""
    if subject.module is None:
        return None
    events: list[tuple[str, torch.Tensor]] = []

    def keep(blame: str, value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.requires_grad and value.shape[:2] == (1, subject.length):
            events.append((blame, value[0, query]))

    def entered(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str) -> None:
        if name:
            keep(running, args[0] if args else None)

    def left(name: str, _: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any, running: str) -> None:
        keep(name, main_output(out))

    with torch.enable_grad(), _embedded(subject, subject.rows(1)) as (inputs, leaves):
        with watching(subject.module, subject.length, entered, left) as watch:
            subject.run(inputs)
        for blame, value in events:
            grads = torch.autograd.grad(_projected(value), leaves, allow_unused=True, retain_graph=True)
            if any(g is not None and bool(g.reshape(subject.length, -1)[key].any()) for g in grads):
                attends = any(n == blame or (blame and n.startswith(f"{blame}.")) for n in watch.attends)
                return Place(blame, attends)
    return None


def _float64(subject: Subject) -> Subject | None:
    if subject.module is None:  # a function says nothing of its weights
        floats = subject.inputs.is_floating_point()
        return replace(subject, inputs=subject.inputs.double()) if floats else None
    if 8 * sum(p.numel() for p in subject.module.parameters()) > _MOST_BYTES:
        return None
    return subject.float64()


def _sizes(subject: Subject, queries: torch.Tensor) -> tuple[torch.Tensor, torch.dtype] | None:
    """float64 `(N, K)`, sizes of the gradients of these outputs, each projected on a direction, and their dtype."""
    rows = int(max(1, min(_MOST_ROWS, WORK / 4 // work(subject))))
    found: list[torch.Tensor] = []
    try:
        with torch.enable_grad():
            for some in queries.split(rows):
                with _embedded(subject, subject.rows(len(some))) as (inputs, leaves):
                    out = subject.run(inputs)
                    total = _projected(out[torch.arange(len(some)), some])
                grads = torch.autograd.grad(total, leaves, allow_unused=True)
                size = torch.zeros(len(some), subject.length, dtype=torch.float64)
                for gradient in grads:
                    if gradient is not None:
                        wide = gradient.detach().abs().double().nan_to_num(0.0)
                        size += wide.reshape(len(some), subject.length, -1).sum(-1).cpu()
                found.append(size)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None  # not differentiable, refuses the dtype, or embeds its tokens in a way of its own
    return torch.cat(found), out.dtype


def _projected(values: torch.Tensor) -> torch.Tensor:
    """One number: the values along a direction in which nothing cancels by design."""
    generator = torch.Generator().manual_seed(1)
    shape = values.shape[1:] if values.ndim > 1 else values.shape
    return (values * (torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5).to(values)).sum()


@contextmanager
def _embedded(subject: Subject, inputs: torch.Tensor) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """What to call the model with, and the leaves to differentiate by: the inputs, or what embeds these very tokens."""
    if inputs.is_floating_point():
        leaf = inputs.detach().requires_grad_()
        yield leaf * 1, [leaf]
        return
    leaves: list[torch.Tensor] = []

    def after(_: Any, args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor | None:
        ids = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if ids is None or ids.numel() != inputs.numel() or not torch.equal(ids.reshape(inputs.shape), inputs):
            return None
        leaves.append(out.detach().requires_grad_())
        return leaves[-1] * 1  # a leaf may not be changed in place, and some models do that

    tables = [m for m in subject.module.modules() if isinstance(m, torch.nn.Embedding)] if subject.module else []
    handles = [table.register_forward_hook(after) for table in tables]
    try:
        yield inputs, leaves
    finally:
        for handle in handles:
            handle.remove()
