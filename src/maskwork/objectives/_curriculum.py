"""`Curriculum`: easy tokens are scored first, and a share of tokens that grows with the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from .._shared.numbers import at_least, finite, integer
from ..data import Reason
from ..errors import ArgumentError
from ._arguments import store
from ._batches.batch import Batch
from ._batches.with_weights import with_weights


@dataclass(frozen=True)
class Curriculum:
    """A curriculum: each step scores a share of the tokens, the easiest ones; the others have weight 0.

    The share is a function of the step alone: `(start**p + (end**p - start**p) * step / steps) ** (1 / p)` with
    p = `power`, and `end` from `steps` on. A power of 1 is linear, 2 the square-root competence of Platanios et al.
    (2019), which grows quickly at first.

    With a `difficulty`, the tokens of one step are ranked: nothing is stored. Without, the difficulty is the model's
    own loss, which is known only once the model has read a batch: tokens are then compared with the losses of the steps
    before (`DifficultyHistory`), and the first step, whose history is empty, scores everything. `mw.training.train`
    does both, and stores the history in its checkpoints.

    Attributes:
        start: the share at step 0, above 0.
        end: the share from `steps` on, at least `start` and at most 1.
        steps: the number of steps in which the share grows.
        power: the shape of the growth, above 0.
        difficulty: a function from a batch to a number for each position, (B, L) floats; None for the model's own loss.
        memory: the weight of the history against one step's losses, in [0, 1).

    Raises:
        ArgumentError: an argument breaks its rule.

    >>> curriculum = Curriculum(start=0.2, steps=100)
    >>> [round(curriculum.share(step), 2) for step in (0, 50, 100, 1000)]
    [0.2, 0.6, 1.0, 1.0]
    """

    start: float
    steps: int
    end: float = 1.0
    power: float = 1.0
    difficulty: Callable[[Batch], torch.Tensor] | None = field(default=None, repr=False)
    memory: float = 0.9

    def __post_init__(self) -> None:
        for name in ("start", "end", "power", "memory"):
            store(self, **{name: finite(getattr(self, name), name)})
        store(self, steps=integer(self.steps, "steps"))
        if not 0 < self.start <= self.end <= 1:
            raise ArgumentError(
                "a curriculum's share grows from start to end, with 0 < start <= end <= 1, "
                f"got {self.start} to {self.end}"
            )
        if self.steps < 1:
            raise ArgumentError(f"a curriculum grows over at least one step, got steps={self.steps}")
        if self.power <= 0:
            raise ArgumentError(f"a curriculum's power is above 0, got {self.power}; 1 is linear")
        if not 0 <= self.memory < 1:
            raise ArgumentError(f"a curriculum's memory lies in [0, 1), got {self.memory}; 0.9 is ten steps' worth")

    def share(self, step: int) -> float:
        """Return the share of tokens to score after `step` steps; raise `ArgumentError` for a step below 0."""
        step = at_least(step, 0, "step")
        if step >= self.steps:
            return self.end
        low, high = self.start**self.power, self.end**self.power
        return (low + (high - low) * step / self.steps) ** (1 / self.power)

    def easiest(self, batches: Sequence[Batch], difficulty: Sequence[torch.Tensor], step: int) -> list[Batch]:
        """Return one step's batches with this step's share of all their scored tokens, the easiest ones.

        The result does not depend on how a step is cut into batches. Of equally difficult tokens the first ones stay;
        at least one token does.

        Args:
            batches: all batches of the step, on one device.
            difficulty: for each batch (B, L) floats; read where the batch scores something.
            step: the number of steps before.

        Raises:
            ArgumentError: shapes don't fit, or a scored token's difficulty is NaN.

        >>> from maskwork.objectives import CausalLM
        >>> batch = CausalLM()([[5, 6, 7, 8, 9]])
        >>> (half,) = Curriculum(start=0.5, steps=10).easiest([batch], [torch.tensor([[4.0, 1.0, 3.0, 2.0, 0.0]])], 0)
        >>> half.targets.tolist()
        [[-100, 7, -100, 9, -100]]
        """
        if len(batches) != len(difficulty):
            raise ArgumentError(f"each of {len(batches)} batches needs its difficulty, got {len(difficulty)}")
        if not batches:
            return []
        for batch, scores in zip(batches, difficulty, strict=True):
            _check_difficulty(batch, scores)
        # One ranking over the whole step:  batches -> flat (scored tokens) -> keep -> cut into batches again
        flat = torch.cat([scores[batch.scored] for batch, scores in zip(batches, difficulty, strict=True)])
        # Round-off must not add a token: 0.07 * 100 is above 7.
        count = min(len(flat), max(1, math.ceil(self.share(step) * len(flat) - 1e-9)))
        keep = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        keep[flat.argsort(stable=True)[:count]] = True
        out = []
        for batch, part in zip(batches, keep.split([batch.n_targets for batch in batches]), strict=True):
            easy = torch.zeros_like(batch.scored)
            easy[batch.scored] = part
            out.append(with_weights(batch, easy, Reason.CURRICULUM))
        return out

    def within_reach(self, batch: Batch, difficulty: torch.Tensor, history: DifficultyHistory, step: int) -> Batch:
        """Return the batch with only the tokens no more difficult than this step's share of the history.

        Args:
            batch: B rows of L positions.
            difficulty: (B, L) floats; read where the batch scores something.
            history: the difficulties of the steps before; an empty history lets every token pass.
            step: the number of steps before.

        Raises:
            ArgumentError: shapes don't fit, or a scored token's difficulty is NaN.
        """
        _check_difficulty(batch, difficulty)
        share = self.share(step)
        limit = history.quantile(share) if share < 1 else math.inf
        return with_weights(batch, difficulty <= limit, Reason.CURRICULUM)


#: Edges of bins, a factor of 1.03 apart, from 1e-4 to 1e3; one more bin lies beyond either end.
_EDGES = torch.logspace(-4, 3, 511, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class DifficultyHistory:
    """A histogram of tokens' difficulties that forgets: the state of a measured curriculum between steps.

    Attributes:
        counts: (512,) float64, tokens in bins of losses from 1e-4 to 1e3, each 3.2 % wide.

    >>> history = DifficultyHistory().add(torch.tensor([0.1, 1.0, 2.0, 4.0]))
    >>> history.quantile(0.5) >= 1.0, history.quantile(0.5) < 1.04
    (True, True)
    """

    counts: torch.Tensor = field(default_factory=lambda: torch.zeros(512, dtype=torch.float64))

    def __post_init__(self) -> None:
        if self.counts.shape != (len(_EDGES) + 1,) or self.counts.dtype != torch.float64:
            raise ArgumentError(
                f"a history's counts are float64 ({len(_EDGES) + 1},), got {self.counts.dtype} "
                f"{tuple(self.counts.shape)}; begin with DifficultyHistory()"
            )

    def add(self, difficulty: torch.Tensor, memory: float = 0.0) -> DifficultyHistory:
        """Return the history with these difficulties (any shape), after multiplying the old counts by `memory`."""
        memory = finite(memory, "memory")
        bins = torch.bucketize(difficulty.detach().double().cpu().flatten(), _EDGES)
        return DifficultyHistory(self.counts * memory + torch.bincount(bins, minlength=len(self.counts)))

    def quantile(self, share: float) -> float:
        """Return a difficulty that at least `share` of tokens do not exceed, the upper end of a bin; inf if empty."""
        total = float(self.counts.sum())
        if total == 0:
            return math.inf
        index = int(torch.searchsorted(self.counts.cumsum(0), finite(share, "share") * total))
        return float(_EDGES[index]) if index < len(_EDGES) else math.inf  # the last bin has no upper end


def _check_difficulty(batch: Batch, difficulty: torch.Tensor) -> None:
    """Raise unless each scored position of the batch has a difficulty."""
    if difficulty.shape != batch.targets.shape:
        raise ArgumentError(
            f"difficulty must have the targets' shape {tuple(batch.targets.shape)}, got {tuple(difficulty.shape)}; "
            "align them"
        )
    if bool(difficulty[batch.scored].isnan().any()):
        raise ArgumentError("a scored token has a difficulty, got NaN")
