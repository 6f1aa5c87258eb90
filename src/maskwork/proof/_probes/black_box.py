"""The whole model as a black box: forbidden inputs changed together, outputs compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .subject import CannotRun, Subject
from .substitutes import substitutes
from .tolerance import change, relative_room

#: inputs (B, L, …) -> outputs (B, Q, …)
Run = Callable[[torch.Tensor], torch.Tensor]

#: Bytes of outputs that one batch of perturbed sequences may hold.
_MOST_BYTES = 1 << 28
_MOST_ROWS = 16

#: Multiply-adds of all perturbed sequences together, above which each forbidden set is tried with one substitution.
WORK = 4e10
_FEW_SETS = 8


@dataclass(frozen=True)
class Sets:
    """Groups of inputs that are changed together, each with the outputs that may depend on none of them."""

    keys: torch.Tensor  # bool (S, K)
    queries: torch.Tensor  # bool (S, Q)

    @staticmethod
    def of(allowed: torch.Tensor) -> Sets:
        """Every forbidden pair of bool `(Q, K)` is in at least one set: that of all that its query may not see."""
        forbidden = ~allowed
        keys = torch.unique(forbidden[forbidden.any(1)], dim=0)
        inside = (forbidden[None] | ~keys[:, None]).all(-1)
        return Sets(keys, inside)

    def spread(self, count: int) -> Sets:
        """At most so many of them, evenly; the first and the last are kept."""
        few = torch.linspace(0, len(self.keys) - 1, min(count, len(self.keys))).long().unique()
        return self.only(few)

    def only(self, which: torch.Tensor) -> Sets:
        """Those at the indices `which`."""
        return Sets(self.keys[which], self.queries[which])

    def nearest(self, effect: torch.Tensor) -> torch.Tensor:
        """bool `(Q, K)`: for each effect `(S, Q)` on an output, the key of its set that lies nearest."""
        pairs = torch.zeros(self.queries.shape[1], self.keys.shape[1], dtype=torch.bool)
        for s, q in (effect > 0).nonzero().tolist():
            keys = self.keys[s].nonzero().flatten()
            pairs[q, keys[(keys - q).abs().argmin()]] = True
        return pairs


@dataclass(frozen=True)
class Influences:
    """What changed when inputs were changed."""

    #: float64 `(S, Q)`: the largest change of a protected output; 0 where none may depend on the set and none did.
    effect: torch.Tensor
    #: How many substitutions each set was tried with.
    tried: int
    #: Differences that float64 showed to be rounding.
    rounding: int = 0
    #: Whether differences at rounding level could not be looked at in float64.
    unsettled: bool = False


class Whole:
    """One way of calling a model, with its baseline."""

    def __init__(self, subject: Subject, run: Run | None = None, most_rows: int = _MOST_ROWS) -> None:
        self.subject = subject
        self.run = subject.run if run is None else run
        one = self.run(subject.rows(1))
        self.out = one[0]
        per_row = max(1, one[0].numel() * max(8, one.element_size()))
        rows = most_rows if self.affordable_sets() > _FEW_SETS else min(most_rows, _FEW_SETS)
        self.batch = max(2, min(rows, _MOST_BYTES // per_row))
        self.before = self.run(subject.rows(self.batch))
        again = self.run(subject.rows(1))
        #: The largest change between equal calls, which nothing smaller can be told from.
        self.noise = float(change(one[0], again[0]).max())
        if self.noise:
            columns = self.before[0].double()
            scale = float((columns - columns.mean(0)).abs().nan_to_num(posinf=0.0).max())
            if not self.noise * 16 < scale:
                raise CannotRun("two equal calls gave different outputs; switch off what is random in the model")

    def _changed(
        self, keys: torch.Tensor, other: torch.Tensor, queries: torch.Tensor | None = None, at_once: int | None = None
    ) -> torch.Tensor:
        """Effects float64 `(N, Q)` of replacing, in N sequences, the inputs marked in bool `(N, K)`.

        Only at the `queries` marked in bool `(N, Q)`; 0 at the others. `at_once` of a batch's rows are changed, all
        when left out.
        """
        out: list[torch.Tensor] = []
        size = self.batch if at_once is None else at_once
        for first in range(0, len(keys), size):
            marked = keys[first : first + size]
            rows = self.subject.rows(self.batch)
            for r, mark in enumerate(marked):
                rows[r, mark] = other[mark]
            after = self.run(rows)
            # Row by row, so that only one sequence's outputs are ever widened.
            for r in range(len(marked)):
                differ = torch.zeros(len(self.out), dtype=torch.float64)
                wanted = slice(None) if queries is None else queries[first + r]
                differ[wanted] = change(after[r][wanted], self.before[r][wanted]).cpu()
                out.append(torch.where(differ > 16 * self.noise, differ, 0.0)[None])
        return torch.cat(out) if out else torch.zeros(0, len(self.out), dtype=torch.float64)

    def forbidden(self, sets: Sets, *, settle: Whole | None = None) -> Influences:
        """What changed at outputs that may not depend on what was changed."""
        count = self.substitutions(len(sets.keys))
        effect = torch.zeros(sets.queries.shape, dtype=torch.float64)
        for other in substitutes(self.subject, count):
            effect = torch.maximum(effect, self._changed(sets.keys, other, sets.queries))
        room = relative_room(self.out, self.subject.model)
        small = (effect > 0) & (effect <= room)
        if not small.any():
            return Influences(effect, count)
        if settle is None:
            return Influences(effect, count, unsettled=True)
        again = torch.zeros_like(effect)
        for other in substitutes(settle.subject, count):
            again = torch.maximum(again, settle._changed(sets.keys, other, sets.queries))
        rounding = small & (again <= effect * 1e-4)
        return Influences(torch.where(rounding, 0.0, effect), count, int(rounding.sum()))

    def one_row_at_a_time(self, sets: Sets) -> torch.Tensor:
        """Effects as of `forbidden`, each set changed in a batch whose other rows are the sequence itself.

        In a model whose rows change each other, an effect may come from another row's change.
        """
        effect = torch.zeros(sets.queries.shape, dtype=torch.float64)
        for other in substitutes(self.subject, self.substitutions(len(sets.keys))):
            effect = torch.maximum(effect, self._changed(sets.keys, other, sets.queries, at_once=1))
        return effect

    def affordable_sets(self) -> int:
        """How many sets may be tried in a model of this size; at least 8."""
        return int(max(_FEW_SETS, WORK // work(self.subject)))

    def substitutions(self, rows: int) -> int:
        """How many substitutions are affordable for so many perturbed sequences; at least one, and three at best."""
        return affordable_substitutions(self.subject, rows)

    def pairs(self) -> torch.Tensor:
        """float64 `(Q, K)`: the largest change of output q when input k alone is replaced."""
        single = torch.eye(self.subject.length, dtype=torch.bool)
        effect = torch.zeros(len(self.out), self.subject.length, dtype=torch.float64)
        count = self.substitutions(len(single))
        for other in substitutes(self.subject, count + (count > 1)):
            effect = torch.maximum(effect, self._changed(single, other).T)
        return effect


def work(subject: Subject) -> float:
    """Multiply-adds of one sequence's forward pass, about."""
    module = subject.module
    size = sum(p.numel() for p in module.parameters()) if module is not None else 0
    return max(1.0, float(size) * subject.length)


def affordable_substitutions(subject: Subject, rows: int) -> int:
    """How many substitutions are affordable for so many perturbed sequences; at least one, and three at best."""
    return int(max(1, min(3, WORK // (work(subject) * max(1, rows)))))
