"""One module's step: which of its input positions change which of its output positions."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch

from .gradient import at_rounding_level
from .replay import FIRST_OTHER, PLAIN, SECOND_OTHER, Replay
from .tolerance import change, relative_room

#: Multiply-adds that one module's step may cost in float64 before fewer substitutions are tried.
_WORK = 2e10


@dataclass(frozen=True)
class Step:
    """What one module does along the sequence."""

    #: float64 `(L, L)`: largest change of output q when input k is replaced; 0 where no bit changes.
    effect: torch.Tensor
    #: float64 `(L, L)`: size of the gradient in float64; None where none could be taken.
    gradient: torch.Tensor | None
    #: bool `(L, L)`: differences that float64 showed to be rounding.
    rounding: torch.Tensor
    #: At how many outputs gradients were taken: in a large module not at all of them.
    outputs: int = 0
    #: What gradients were taken in: float64, or the module's own dtype where it refuses that; None where none could be.
    precision: torch.dtype | None = None
    #: bool `(L, L)`: differences at rounding level that float64, refused by the module, could not settle.
    unsettled: torch.Tensor | None = None
    #: How strongly a suspect pair weighs beside one that is not; None where none is seen.
    contrast: float | None = None

    @property
    def seen(self) -> torch.Tensor:
        """bool `(L, L)`: any influence, by either method."""
        seen = self.effect > 0
        return seen if self.gradient is None else seen | (self.gradient > 0)


def mixes(replay: Replay) -> bool | None:
    """Whether any position influences another; None when the module cannot be replayed.

    For each bit of a position, those that have it are changed and the others watched, and the reverse: every two
    positions differ in some bit, so that no pair is left out.
    """
    positions = torch.arange(replay.length)
    bits = (replay.length - 1).bit_length()
    changed = torch.zeros(replay.batch, replay.length, dtype=torch.bool)
    for b in range(bits):
        changed[2 * b] = (positions >> b) & 1 == 0
        changed[2 * b + 1] = ~changed[2 * b]
    leaves = replay.leaves()
    for front, other in zip(replay.fronts(leaves), replay.others(FIRST_OTHER), strict=True):
        for r in range(2 * bits):
            front[PLAIN + r, changed[r]] = other[changed[r]]
    # The rows from PLAIN on hold the sequence itself, so the forward pass has already said what they give unchanged.
    after, before = replay.output(leaves)[PLAIN:], replay.seen()[PLAIN:]
    differ = _rows_change(after, before) > 0
    if not (differ & ~changed[: len(differ)])[: 2 * bits].any():
        return False
    return True if replay.faithful() else None


def step_of(replay: Replay, suspect: torch.Tensor) -> Step:
    """The module's whole step, both methods; small differences at `suspect` pairs are settled in float64."""
    size = sum(p.numel() for p in replay.module.parameters())
    both = size * replay.length * replay.length <= _WORK / 4
    effect = _effects(replay, replay.module, None, both)
    small = suspect & (effect > 0) & (effect <= relative_room(replay.plain[0], replay.module))
    rounding, unsettled = torch.zeros_like(small), None
    wide = _float64(replay.module)
    if small.any():
        again = _effects_or_none(replay, wide, both)
        if again is None:
            unsettled = small  # and each difference a finding
        else:
            rounding = small & (again <= effect * 1e-4)
            effect = torch.where(rounding, 0.0, effect)
    gradient, precision = _settled_gradients(replay, wide, suspect)
    step = Step(effect, gradient, rounding, len(_outputs(replay)), precision, unsettled)
    leaks = step.seen & suspect
    if precision is None or not leaks.any():
        return step
    module, dtype = (wide, precision) if precision == torch.float64 and wide is not None else (replay.module, None)
    return replace(step, contrast=contrast(replay, module, dtype, leaks, step.seen & ~suspect))


def _effects_or_none(replay: Replay, wide: torch.nn.Module | None, both: bool) -> torch.Tensor | None:
    try:
        return None if wide is None else _effects(replay, wide, torch.float64, both)
    except (RuntimeError, TypeError, ValueError):
        return None  # the module refuses float64


def _float64(module: torch.nn.Module) -> torch.nn.Module | None:
    try:
        return copy.deepcopy(module).double().requires_grad_(False)
    except Exception:  # whatever a stranger's __deepcopy__ raises
        return None


def _rows_change(after: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """float64 `(B, L)` on the CPU."""
    batch, length = after.shape[:2]
    flat = change(after.reshape(batch * length, -1), before.reshape(batch * length, -1))
    return flat.reshape(batch, length).cpu()


def _effects(replay: Replay, module: torch.nn.Module, dtype: torch.dtype | None, both: bool) -> torch.Tensor:
    length, batch = replay.length, replay.batch
    effect = torch.zeros(length, length, dtype=torch.float64)
    before = replay.plain if module is replay.module and dtype is None else replay.output(replay.leaves(dtype), module)
    for row in (FIRST_OTHER, SECOND_OTHER)[: 1 + both]:
        others = replay.others(row, dtype)
        for first in range(0, length, batch):
            keys = range(first, min(first + batch, length))
            leaves = replay.leaves(dtype)
            for front, other in zip(replay.fronts(leaves), others, strict=True):
                for r, k in enumerate(keys):
                    front[r, k] = other[k]
            differ = _rows_change(replay.output(leaves, module), before)[: len(keys)]
            effect[:, first : first + len(keys)] = torch.maximum(effect[:, first : first + len(keys)], differ.T)
    return effect


def _settled_gradients(
    replay: Replay, wide: torch.nn.Module | None, suspect: torch.Tensor
) -> tuple[torch.Tensor | None, torch.dtype | None]:
    """Gradients and their dtype: in float64, without rounding, which is larger in a coarser dtype; a true one is not.

    A module that refuses float64 is asked in its own dtype.
    """
    gradient = None if wide is None else gradients(replay, wide, torch.float64)
    if gradient is None:
        native = gradients(replay, replay.module, None)
        return native, None if native is None else replay.plain.dtype
    faint = suspect & at_rounding_level(gradient)
    native = gradients(replay, replay.module, None) if faint.any() else None
    if native is not None:
        gradient = torch.where(faint & (native > 1e3 * gradient), 0.0, gradient)
    return gradient, torch.float64


def gradients(replay: Replay, module: torch.nn.Module, dtype: torch.dtype | None) -> torch.Tensor | None:
    """float64 `(L, L)`: size of the gradient of output q, projected on a random direction, at input k."""
    length, batch = replay.length, replay.batch
    found = torch.zeros(length, length, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    try:
        with torch.enable_grad():
            for queries in _outputs(replay).split(batch):
                base = replay.leaves(dtype)
                data = [tensor.requires_grad_() for tensor in replay.data(base)]
                # A leaf that requires a gradient may not be changed in place, and some modules do that.
                out = replay.output(replay.put(base, [tensor * 1 for tensor in data]), module)
                picked = out[torch.arange(len(queries)), queries]
                direction = torch.rand(picked.shape[1:], generator=generator, dtype=torch.float64) + 0.5
                total = (picked * direction.to(picked)).sum()
                grads = torch.autograd.grad(total, data, allow_unused=True)
                filled = [_or_zero(t, g) for t, g in zip(data, grads, strict=True)]
                for front in replay.fronts(replay.put(base, filled)):
                    size = (
                        front[: len(queries)].detach().abs().double().nan_to_num(0.0).reshape(len(queries), length, -1)
                    )
                    found[queries] += size.sum(-1).cpu()
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None  # not differentiable, or refuses the dtype: the other method stands alone
    return found


def contrast(
    replay: Replay, module: torch.nn.Module, dtype: torch.dtype | None, suspect: torch.Tensor, rest: torch.Tensor
) -> float | None:
    """How strongly suspect inputs weigh beside the others of the same output, from 0 to 1, as a median over outputs.

    By their mean Jacobians: that of the others is projected on that of the suspect. Heads that keep the mask lie across
    it and do not count, so one open head of many weighs 1, and a mask value that is too small its small weight.
    """
    rest = rest & ~torch.eye(len(rest), dtype=torch.bool)
    queries = (suspect.any(1) & rest.any(1)).nonzero().flatten().tolist()
    ratios: list[float] = []
    generator = torch.Generator().manual_seed(2)
    try:
        with torch.enable_grad():
            for q in queries[:: max(1, len(queries) // 6)][:8]:
                base = replay.leaves(dtype)
                data = [tensor.requires_grad_() for tensor in replay.data(base)]
                picked = replay.output(replay.put(base, [tensor * 1 for tensor in data]), module)[:, q]
                directions = torch.randn(picked.shape, generator=generator, dtype=torch.float64)
                grads = torch.autograd.grad((picked * directions.to(picked)).sum(), data, allow_unused=True)
                filled = replay.fronts(replay.put(base, [_or_zero(t, g) for t, g in zip(data, grads, strict=True)]))
                jacobian = torch.cat([f.detach().reshape(*f.shape[:2], -1).double() for f in filled], -1).cpu()
                one, other = jacobian[:, suspect[q]].mean(1), jacobian[:, rest[q]].mean(1)
                own, along = float((one * one).sum()), float((one * other).sum())
                ratios.append(own / along if along > own else 1.0)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    finite = sorted(r for r in ratios if r == r)
    return finite[len(finite) // 2] if finite else None


def _outputs(replay: Replay) -> torch.Tensor:
    """The outputs whose gradients are taken: all, or of a large module as many as one batch holds, spread evenly."""
    size = sum(p.numel() for p in replay.module.parameters())
    if size * replay.length * replay.length <= _WORK / 4:
        return torch.arange(replay.length)
    return torch.linspace(0, replay.length - 1, min(replay.batch, replay.length)).long().unique()


def _or_zero(tensor: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
    return torch.zeros_like(tensor) if gradient is None else gradient.contiguous()
