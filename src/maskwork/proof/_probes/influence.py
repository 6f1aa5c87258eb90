"""One module run alone: which of its input positions change which of its output positions, by bits and by gradients."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch

from .replay import FIRST_OTHER, PLAIN, SECOND_OTHER, Replay
from .tolerance import at_rounding_level, change, relative_room

# Multiply-adds that one module may cost in float64 before fewer substitutions are tried.
_WORK = 2e10

# What a stranger's module raises when it has no gradients or refuses a dtype.
_REFUSALS = (RuntimeError, TypeError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Influence:
    """The influence of each input position of one module on each of its output positions.

    Attributes:
        effect: float64 `(L, L)`, largest change of output q when input k is replaced; 0 where no bit changes.
        gradient: float64 `(L, L)`, size of the gradient in float64; None where there is no gradient.
        rounding: bool `(L, L)`, differences that float64 showed to be rounding.
        outputs: at how many outputs gradients were taken: in a large module not at all of them.
        precision: dtype of the gradients: float64, or the module's own where it refuses that; None without gradients.
        unsettled: bool `(L, L)`, differences at rounding level in a module that refuses float64.
        contrast: how strongly a suspect pair weighs beside one that is not; None where no suspect pair has influence.
    """

    effect: torch.Tensor
    gradient: torch.Tensor | None
    rounding: torch.Tensor
    outputs: int = 0
    precision: torch.dtype | None = None
    unsettled: torch.Tensor | None = None
    contrast: float | None = None

    @property
    def observed(self) -> torch.Tensor:
        """Any influence by either method, bool `(L, L)`."""
        changed = self.effect > 0
        return changed if self.gradient is None else changed | (self.gradient > 0)


def mixes(replay: Replay) -> bool | None:
    """Return whether any position influences another; None when the module cannot be replayed.

    For each bit of a position, the positions that have it are changed and the others watched, and the reverse. Every
    two positions differ in some bit, so that no pair is left out. Of 4 positions (x is changed):

        row    0  1  2  3
        0      x  .  x  .     bit 0 clear
        1      .  x  .  x     bit 0 set
        2      x  x  .  .     bit 1 clear
        3      .  .  x  x     bit 1 set
    """
    positions = torch.arange(replay.length)
    bits = (replay.length - 1).bit_length()
    changed = torch.zeros(replay.batch, replay.length, dtype=torch.bool)
    for b in range(bits):
        changed[2 * b] = (positions >> b) & 1 == 0
        changed[2 * b + 1] = ~changed[2 * b]
    leaves = replay.leaves()
    for front, other in zip(replay.fronts(leaves), replay.row_data(FIRST_OTHER), strict=True):
        for r in range(2 * bits):
            front[PLAIN + r, changed[r]] = other[changed[r]]
    # The rows from PLAIN on hold the sequence itself, so the forward pass has already said what they give unchanged.
    after, before = replay.output(leaves)[PLAIN:], replay.captured()[PLAIN:]
    differ = _rows_change(after, before) > 0
    if not (differ & ~changed[: len(differ)])[: 2 * bits].any():
        return False
    return True if replay.faithful() else None


def module_influence(replay: Replay, suspect: torch.Tensor) -> Influence:
    """Return the module's influence by both methods; small differences at `suspect` pairs are settled in float64."""
    two_substitutions = _size(replay) * replay.length * replay.length <= _WORK / 4
    effect = _effects(replay, replay.module, None, two_substitutions)
    small = suspect & (effect > 0) & (effect <= relative_room(replay.plain[0], replay.module))
    rounding, unsettled = torch.zeros_like(small), None
    wide = _float64(replay.module)
    if small.any():
        exact = _effects_or_none(replay, wide, two_substitutions)
        if exact is None:
            unsettled = small  # and each difference a finding
        else:
            rounding = small & (exact <= effect * 1e-4)
            effect = torch.where(rounding, 0.0, effect)
    gradient, precision = _settled_gradients(replay, wide, suspect)
    influence = Influence(effect, gradient, rounding, len(_outputs(replay)), precision, unsettled)
    leaks = influence.observed & suspect
    # The contrast tells an open head from a weak mask value; without a leak there is nothing to tell apart.
    if precision is None or not leaks.any():
        return influence
    module, dtype = (wide, precision) if precision == torch.float64 and wide is not None else (replay.module, None)
    return replace(influence, contrast=contrast(replay, module, dtype, leaks, influence.observed & ~suspect))


def _size(replay: Replay) -> int:
    return sum(p.numel() for p in replay.module.parameters())


def _effects_or_none(replay: Replay, wide: torch.nn.Module | None, two_substitutions: bool) -> torch.Tensor | None:
    try:
        return None if wide is None else _effects(replay, wide, torch.float64, two_substitutions)
    except (RuntimeError, TypeError, ValueError):
        return None  # the module refuses float64


def _float64(module: torch.nn.Module) -> torch.nn.Module | None:
    try:
        return copy.deepcopy(module).double().requires_grad_(False)
    except Exception:  # whatever a stranger's __deepcopy__ raises
        return None


def _rows_change(after: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Return the change of each row and position, float64 `(B, L)` on the CPU."""
    batch, length = after.shape[:2]
    flat = change(after.reshape(batch * length, -1), before.reshape(batch * length, -1))
    return flat.reshape(batch, length).cpu()


def _effects(
    replay: Replay, module: torch.nn.Module, dtype: torch.dtype | None, two_substitutions: bool
) -> torch.Tensor:
    """Return the change of output q when input k is replaced, float64 `(L, L)`: row r of a batch replaces one k."""
    length, batch = replay.length, replay.batch
    effect = torch.zeros(length, length, dtype=torch.float64)
    before = replay.plain if module is replay.module and dtype is None else replay.output(replay.leaves(dtype), module)
    for row in (FIRST_OTHER, SECOND_OTHER)[: 1 + two_substitutions]:
        substitute = replay.row_data(row, dtype)
        for first in range(0, length, batch):
            keys = range(first, min(first + batch, length))
            leaves = replay.leaves(dtype)
            for front, other in zip(replay.fronts(leaves), substitute, strict=True):
                for r, k in enumerate(keys):
                    front[r, k] = other[k]
            differ = _rows_change(replay.output(leaves, module), before)[: len(keys)]
            effect[:, first : first + len(keys)] = torch.maximum(effect[:, first : first + len(keys)], differ.T)
    return effect


def _settled_gradients(
    replay: Replay, wide: torch.nn.Module | None, suspect: torch.Tensor
) -> tuple[torch.Tensor | None, torch.dtype | None]:
    """Return the gradients in float64 without those that are rounding, and their dtype.

    Rounding is larger in a coarser dtype; a true gradient is not. A module that refuses float64 is judged in its own.
    """
    gradient = None if wide is None else gradients(replay, wide, torch.float64)
    if gradient is None:
        native = gradients(replay, replay.module, None)
        return native, None if native is None else replay.plain.dtype
    # Gradients of float64 that may be rounding are taken again in the module's own dtype.
    faint = suspect & at_rounding_level(gradient)
    native = gradients(replay, replay.module, None) if faint.any() else None
    if native is not None:
        gradient = torch.where(faint & (native > 1e3 * gradient), 0.0, gradient)
    return gradient, torch.float64


def gradients(replay: Replay, module: torch.nn.Module, dtype: torch.dtype | None) -> torch.Tensor | None:
    """Return float64 `(L, L)`, the size of the gradient of output q, projected on a random direction, at input k.

    None where the module is not differentiable or refuses the dtype: the comparison of bits then stands alone.
    """
    length, batch = replay.length, replay.batch
    sizes = torch.zeros(length, length, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    try:
        with torch.enable_grad():
            for queries in _outputs(replay).split(batch):
                base = replay.leaves(dtype)
                data = [tensor.requires_grad_() for tensor in replay.data(base)]
                # A leaf that requires a gradient may not be changed in place, and some modules do that.
                out = replay.output(replay.with_data(base, [tensor * 1 for tensor in data]), module)
                picked = out[torch.arange(len(queries)), queries]
                # A direction of positive entries between 0.5 and 1.5, so that no sum cancels by symmetry.
                direction = torch.rand(picked.shape[1:], generator=generator, dtype=torch.float64) + 0.5
                total = (picked * direction.to(picked)).sum()
                for front in replay.fronts(_input_gradients(replay, base, data, total)):
                    size = front[: len(queries)].detach().abs().double().nan_to_num(0.0)
                    sizes[queries] += size.reshape(len(queries), length, -1).sum(-1).cpu()
    except _REFUSALS:
        return None
    return sizes


def contrast(
    replay: Replay, module: torch.nn.Module, dtype: torch.dtype | None, suspect: torch.Tensor, honest: torch.Tensor
) -> float | None:
    """Return how strongly suspect inputs weigh beside honest ones of the same output, from 0 to 1; median of outputs.

    The mean Jacobian of the honest inputs is projected on that of the suspect ones. Heads that honour the mask lie
    across it and do not count, so one open head of many weighs 1, and a mask value that is too small its small weight.
    """
    honest = honest & ~torch.eye(len(honest), dtype=torch.bool)
    queries = (suspect.any(1) & honest.any(1)).nonzero().flatten().tolist()
    ratios: list[float] = []
    generator = torch.Generator().manual_seed(2)
    try:
        with torch.enable_grad():
            for q in queries[:: max(1, len(queries) // 6)][:8]:
                base = replay.leaves(dtype)
                data = [tensor.requires_grad_() for tensor in replay.data(base)]
                picked = replay.output(replay.with_data(base, [tensor * 1 for tensor in data]), module)[:, q]
                directions = torch.randn(picked.shape, generator=generator, dtype=torch.float64)
                total = (picked * directions.to(picked)).sum()
                fronts = replay.fronts(_input_gradients(replay, base, data, total))
                jacobian = torch.cat([f.detach().reshape(*f.shape[:2], -1).double() for f in fronts], -1).cpu()
                forbidden, allowed = jacobian[:, suspect[q]].mean(1), jacobian[:, honest[q]].mean(1)
                norm, projection = float((forbidden * forbidden).sum()), float((forbidden * allowed).sum())
                ratios.append(norm / projection if projection > norm else 1.0)
    except _REFUSALS:
        return None
    finite = sorted(r for r in ratios if r == r)
    return finite[len(finite) // 2] if finite else None


def _input_gradients(replay: Replay, base: list[object], data: list[torch.Tensor], total: torch.Tensor) -> list[object]:
    """Return `base` with the gradients of `total` in the place of the data."""
    grads = torch.autograd.grad(total, data, allow_unused=True)
    filled = [torch.zeros_like(t) if g is None else g.contiguous() for t, g in zip(data, grads, strict=True)]
    return replay.with_data(base, filled)


def _outputs(replay: Replay) -> torch.Tensor:
    """Return the outputs whose gradients are taken: all, or of a large module as many as one batch holds."""
    if _size(replay) * replay.length * replay.length <= _WORK / 4:
        return torch.arange(replay.length)
    return torch.linspace(0, replay.length - 1, min(replay.batch, replay.length)).long().unique()
