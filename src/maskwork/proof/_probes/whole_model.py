"""The whole model as a black box: forbidden inputs and what they change, by bits and by gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from .subject import CannotRun, Subject, substitutes
from .tolerance import at_rounding_level, change, relative_room

# Bytes of outputs that one batch of perturbed sequences may hold, and its rows.
_MOST_OUTPUT_BYTES = 1 << 28
_MOST_ROWS = 16

# Multiply-adds of all perturbed sequences together, above which each forbidden set is tried with one substitution.
_WORK = 4e10
_FEW_SETS = 8

# Bytes of a copy of the model in float64.
_MOST_COPY_BYTES = 1 << 30


@dataclass(frozen=True)
class ForbiddenSets:
    """Groups of inputs that are changed together, each with the outputs that may depend on no input of the group.

    Of a causal mask over 4 positions there are three (x: changed together, o: outputs that must not change):

        keys   .xxx   ..xx   ...x
        query  o...   oo..   ooo.

    Attributes:
        keys: bool `(S, K)`.
        queries: bool `(S, Q)`.
    """

    keys: torch.Tensor
    queries: torch.Tensor

    @staticmethod
    def from_allowed(allowed: torch.Tensor) -> ForbiddenSets:
        """Build sets that hold every forbidden pair of bool `(Q, K)`: one set for each row's forbidden keys."""
        forbidden = ~allowed
        # Queries with equal forbidden keys share a set; a set also protects queries that forbid more keys.
        keys = torch.unique(forbidden[forbidden.any(1)], dim=0)
        protected = (forbidden[None] | ~keys[:, None]).all(-1)
        return ForbiddenSets(keys, protected)

    def spread(self, count: int) -> ForbiddenSets:
        """Select at most `count` of the sets, spread evenly from the first to the last."""
        few = torch.linspace(0, len(self.keys) - 1, min(count, len(self.keys))).long().unique()
        return self.select(few)

    def select(self, indices: torch.Tensor) -> ForbiddenSets:
        """Select the sets at these indices."""
        return ForbiddenSets(self.keys[indices], self.queries[indices])

    def nearest(self, effect: torch.Tensor) -> torch.Tensor:
        """Return bool `(Q, K)`: for each effect `(S, Q)` on an output, the nearest key of its set."""
        pairs = torch.zeros(self.queries.shape[1], self.keys.shape[1], dtype=torch.bool)
        for s, q in (effect > 0).nonzero().tolist():
            keys = self.keys[s].nonzero().flatten()
            pairs[q, keys[(keys - q).abs().argmin()]] = True
        return pairs


@dataclass(frozen=True)
class ForbiddenEffects:
    """Changes of protected outputs when forbidden inputs were changed.

    Attributes:
        effect: float64 `(S, Q)`, the largest change of a protected output; 0 for other outputs.
        substitutions: how many substitutions each set was tried with.
        rounding: how many differences float64 showed to be rounding.
        unsettled: whether there are differences at rounding level that no copy in float64 has settled.
    """

    effect: torch.Tensor
    substitutions: int
    rounding: int = 0
    unsettled: bool = False


class BlackBox:
    """One way of calling a model, with the outputs for the unchanged sequence.

    Attributes:
        out: outputs `(Q, …)` for one row.
        baseline: outputs `(B, Q, …)` for a batch of equal rows: changed batches are compared at this shape.
        noise: the largest change between equal calls, which hides every smaller one.
    """

    def __init__(
        self,
        subject: Subject,
        run: Callable[[torch.Tensor], torch.Tensor] | None = None,
        most_rows: int = _MOST_ROWS,
    ) -> None:
        self.subject = subject
        self.run = subject.run if run is None else run
        first = self.run(subject.rows(1))
        self.out = first[0]
        # Outputs are widened to float64 (8 bytes) in a comparison.
        per_row = max(1, first[0].numel() * max(8, first.element_size()))
        rows = most_rows if self.affordable_sets() > _FEW_SETS else min(most_rows, _FEW_SETS)
        self.batch = max(2, min(rows, _MOST_OUTPUT_BYTES // per_row))
        self.baseline = self.run(subject.rows(self.batch))
        second = self.run(subject.rows(1))
        self.noise = float(change(first[0], second[0]).max())
        if self.noise:
            columns = self.baseline[0].double()
            scale = float((columns - columns.mean(0)).abs().nan_to_num(posinf=0.0).max())
            # Noise as large as what varies from position to position hides every leak.
            if not self.noise * 16 < scale:
                raise CannotRun("two equal calls gave different outputs; switch off what is random in the model")

    def _changed(
        self,
        keys: torch.Tensor,
        other: torch.Tensor,
        queries: torch.Tensor | None = None,
        rows_changed: int | None = None,
    ) -> torch.Tensor:
        """Return the effects float64 `(N, Q)` of replacing, in N sequences, the inputs marked in bool `(N, K)`.

        Only at the `queries` marked in bool `(N, Q)`; 0 at the others. `rows_changed` rows of a batch are changed, all
        of them when None.
        """
        out: list[torch.Tensor] = []
        size = self.batch if rows_changed is None else rows_changed
        for first in range(0, len(keys), size):
            marked = keys[first : first + size]
            rows = self.subject.rows(self.batch)
            for r, mark in enumerate(marked):
                rows[r, mark] = other[mark]
            after = self.run(rows)
            # Row by row, so that only one sequence's outputs are ever widened.
            for r in range(len(marked)):
                differ = torch.zeros(len(self.out), dtype=torch.float64)
                protected = slice(None) if queries is None else queries[first + r]
                differ[protected] = change(after[r][protected], self.baseline[r][protected]).cpu()
                out.append(torch.where(differ > 16 * self.noise, differ, 0.0)[None])
        return torch.cat(out) if out else torch.zeros(0, len(self.out), dtype=torch.float64)

    def forbidden(self, sets: ForbiddenSets, *, settle: BlackBox | None = None) -> ForbiddenEffects:
        """Measure the changes of outputs that may not depend on the changed inputs; `settle` is a copy in float64."""
        count = self.substitutions(len(sets.keys))
        effect = torch.zeros(sets.queries.shape, dtype=torch.float64)
        for other in substitutes(self.subject, count):
            effect = torch.maximum(effect, self._changed(sets.keys, other, sets.queries))
        room = relative_room(self.out, self.subject.model)
        small = (effect > 0) & (effect <= room)
        if not small.any():
            return ForbiddenEffects(effect, count)
        if settle is None:
            return ForbiddenEffects(effect, count, unsettled=True)
        exact = torch.zeros_like(effect)
        for other in substitutes(settle.subject, count):
            exact = torch.maximum(exact, settle._changed(sets.keys, other, sets.queries))
        # A leak stays as large in float64; rounding shrinks with the precision.
        rounding = small & (exact <= effect * 1e-4)
        return ForbiddenEffects(torch.where(rounding, 0.0, effect), count, int(rounding.sum()))

    def one_row_at_a_time(self, sets: ForbiddenSets) -> torch.Tensor:
        """Measure the effects as `forbidden` does, each set in a batch whose other rows are the sequence itself.

        In a model whose rows change each other, an effect may come from another row's change.
        """
        effect = torch.zeros(sets.queries.shape, dtype=torch.float64)
        for other in substitutes(self.subject, self.substitutions(len(sets.keys))):
            effect = torch.maximum(effect, self._changed(sets.keys, other, sets.queries, rows_changed=1))
        return effect

    def affordable_sets(self) -> int:
        """Return how many sets may be tried in a model of this size; at least 8."""
        return int(max(_FEW_SETS, _WORK // _work(self.subject)))

    def substitutions(self, rows: int) -> int:
        """Return how many substitutions are affordable for so many perturbed sequences, from one to three."""
        return affordable_substitutions(self.subject, rows)

    def pairs(self) -> torch.Tensor:
        """Return float64 `(Q, K)`: the largest change of output q when input k alone is replaced."""
        single = torch.eye(self.subject.length, dtype=torch.bool)
        effect = torch.zeros(len(self.out), self.subject.length, dtype=torch.float64)
        count = self.substitutions(len(single))
        for other in substitutes(self.subject, count + (count > 1)):
            effect = torch.maximum(effect, self._changed(single, other).T)
        return effect


def _work(subject: Subject) -> float:
    """Estimate the multiply-adds of one sequence's forward pass."""
    module = subject.module
    size = sum(p.numel() for p in module.parameters()) if module is not None else 0
    return max(1.0, float(size) * subject.length)


def affordable_substitutions(subject: Subject, rows: int) -> int:
    """Return how many substitutions are affordable for so many perturbed sequences, from one to three."""
    return int(max(1, min(3, _WORK // (_work(subject) * max(1, rows)))))


@dataclass(frozen=True)
class WholeGradients:
    """Gradients of a whole model: on which inputs an output depends, however weakly.

    Attributes:
        size: float64 `(Q, K)`, size of the gradient; 0 at outputs whose gradient was not taken.
        outputs: at how many outputs gradients were taken.
        rounding: how many forbidden gradients are rounding: far larger in the model's own dtype.
        subject: the model that was differentiated: a copy in float64, or the model itself where it refuses that.
    """

    size: torch.Tensor
    outputs: int
    precision: torch.dtype
    rounding: int
    subject: Subject


def whole_gradients(
    subject: Subject, reach: torch.Tensor, queries: torch.Tensor | None = None
) -> WholeGradients | None:
    """Take gradients at `queries`, else at as many outputs as are affordable; None when there are none."""
    if queries is None:
        restricted = (~reach).any(1).nonzero().flatten()
        count = min(len(restricted), int(max(2, _WORK // (3 * _work(subject)))))
        queries = restricted[torch.linspace(0, len(restricted) - 1, count).long().unique()]
    # In float64 where the model allows it, else in its own dtype.
    wide = _float64(subject)
    measured = None if wide is None else _sizes(wide, queries)
    used = subject if measured is None or wide is None else wide
    measured = _sizes(subject, queries) if measured is None else measured
    if measured is None:
        return None
    sizes, precision = measured
    forbidden = ~reach[queries]
    rounding = torch.zeros_like(forbidden)
    if used is wide and (faint := at_rounding_level(sizes) & forbidden).any():
        native = _sizes(subject, queries)
        rounding = faint & (native[0] > 1e3 * sizes) if native is not None else rounding
    size = torch.zeros(reach.shape, dtype=torch.float64)
    size[queries] = torch.where(rounding, 0.0, sizes)
    return WholeGradients(size, len(queries), precision, int(rounding.sum()), used)


def _float64(subject: Subject) -> Subject | None:
    if subject.module is None:  # a function says nothing of its weights
        floats = subject.inputs.is_floating_point()
        return replace(subject, inputs=subject.inputs.double()) if floats else None
    if 8 * sum(p.numel() for p in subject.module.parameters()) > _MOST_COPY_BYTES:
        return None
    return subject.float64()


def _sizes(subject: Subject, queries: torch.Tensor) -> tuple[torch.Tensor, torch.dtype] | None:
    """Return the sizes float64 `(N, K)` of the gradients of N outputs, and the dtype that they were taken in."""
    rows = int(max(1, min(_MOST_ROWS, _WORK / 4 // _work(subject))))
    sizes: list[torch.Tensor] = []
    dtype = torch.float64
    try:
        with torch.enable_grad():
            for chunk in queries.split(rows):
                with embedded(subject, subject.rows(len(chunk))) as (inputs, leaves):
                    out = subject.run(inputs)
                    total = projected(out[torch.arange(len(chunk)), chunk])
                grads = torch.autograd.grad(total, leaves, allow_unused=True)
                size = torch.zeros(len(chunk), subject.length, dtype=torch.float64)
                for gradient in grads:
                    if gradient is not None:
                        wide = gradient.detach().abs().double().nan_to_num(0.0)
                        size += wide.reshape(len(chunk), subject.length, -1).sum(-1).cpu()
                sizes.append(size)
                dtype = out.dtype
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None  # not differentiable, refuses the dtype, or embeds its tokens in a way of its own
    return torch.cat(sizes), dtype


def projected(values: torch.Tensor) -> torch.Tensor:
    """Project the values on a direction in which no values cancel by design; return one number."""
    generator = torch.Generator().manual_seed(1)
    shape = values.shape[1:] if values.ndim > 1 else values.shape
    return (values * (torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5).to(values)).sum()


@contextmanager
def embedded(subject: Subject, inputs: torch.Tensor) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Yield the inputs to call the model with, and the leaves to differentiate by.

    The leaves are float inputs themselves, or the embeddings of these very tokens, caught by hooks during the call.
    """
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
