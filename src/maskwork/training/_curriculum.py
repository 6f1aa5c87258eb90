"""`CurriculumState`: the curriculum of one run from step to step, whose measurements go into checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..objectives import Batch, Curriculum, DifficultyHistory, masked_cross_entropy

_HISTORY = "curriculum.history"


class CurriculumState:
    """The curriculum of a run, perhaps none; `history` holds the measurements of finished steps alone."""

    def __init__(self, curriculum: Curriculum | None) -> None:
        self.curriculum = curriculum
        self.history = DifficultyHistory()
        self._measured: list[torch.Tensor] = []

    @property
    def _measures(self) -> bool:
        """True where the model's own losses are the difficulty."""
        return self.curriculum is not None and self.curriculum.difficulty is None

    @property
    def state(self) -> Mapping[str, torch.Tensor]:
        """The tensors that a checkpoint stores: none where nothing is measured."""
        return {_HISTORY: self.history.counts} if self._measures else {}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from the tensors of a checkpoint, which is of a run with the same curriculum."""
        if self._measures:
            self.history = DifficultyHistory(state[_HISTORY])

    def easiest(self, batches: list[Batch], step: int) -> list[Batch]:
        """Return the step's batches without the targets that are too difficult by `curriculum.difficulty`.

        Without such a function the batches are unchanged.
        """
        if self.curriculum is None or self.curriculum.difficulty is None:
            return batches
        return self.curriculum.easiest(batches, [self.curriculum.difficulty(batch) for batch in batches], step)

    def within_reach(self, batch: Batch, logits: torch.Tensor, step: int) -> Batch:
        """Return the batch without the targets that are too difficult by the losses of these logits (B, L, V).

        Where nothing is measured the batch is unchanged.
        """
        if self.curriculum is None or self.curriculum.difficulty is not None:
            return batch
        if self.curriculum.share(step) >= 1:  # the share never falls again, so no later step needs a measurement
            return batch
        losses = masked_cross_entropy(logits.detach(), batch.targets, reduction="none").loss
        # A loss that isn't finite stops the run; the curriculum must not hide it as too difficult.
        if not bool(losses[batch.scored].isfinite().all()):
            return batch
        self._measured.append(losses[batch.scored])
        return self.curriculum.within_reach(batch, losses, self.history, step)

    def end_step(self) -> None:
        """Add the measurements of the step, which is done, to the history."""
        if self.curriculum is not None and self._measured:
            self.history = self.history.add(torch.cat(self._measured), self.curriculum.memory)
            self._measured = []
