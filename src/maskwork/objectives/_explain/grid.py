"""The tensors of a batch as plain arrays, and what they say by themselves: what is scored, and the reason of the rest.

Reasons that an objective noted only name why. One that contradicts the tensors gives way to one that is derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...data import IGNORED, Reason

#: What the letters of a reason mean. The last ones are derived from the tensors and noted by no objective.
LEGEND = {
    "SCORED": "counts in the loss",
    "PADDING": "fills the row up",
    "DOCUMENT_END": "the last of its document: what follows belongs to another one",
    "CONTEXT": "given and not predicted",
    "ROLE_NOT_TRAINED": "predicts a token of a message whose role is not trained",
    "TEMPLATE": "predicts markup, such as that of a chat template",
    "NOT_CHOSEN": "not among the tokens chosen for masking",
    "SPECIAL": "a special token, never chosen",
    "MASKED": "scored; the model reads the mask token here",
    "RANDOM": "scored; the model reads a random token here",
    "KEPT": "scored; the model reads the token itself",
    "MISSING_LABEL": "the data has no label here",
    "REDACTED": "the label was taken out on purpose",
    "SUBWORD": "a later piece of a word whose first piece bears the label",
    "CURRICULUM": "too difficult for this step of the curriculum",
    "ZERO_WEIGHT": "has a target, and a weight of 0",
    "BAD_WEIGHT": "its weight is negative or not a finite number",
    "NO_TARGET": f"the target is {IGNORED}",
    "READ": "read by the model; what is scored stands elsewhere",
    "POOLED": "the output here is what the sequence's class is predicted from",
}

SCORED_REASONS = (Reason.SCORED, Reason.MASKED, Reason.RANDOM, Reason.KEPT)


@dataclass(frozen=True, eq=False)
class Grid:
    """What one side of a model reads, B rows of L positions, on the CPU.

    `targets`, `weights` and `noted` are None where the side has none, as an encoder's; `side` is its name, or "".
    `pooled`, bool (B, L), is what a batch with one target per sequence reads.
    """

    ids: np.ndarray
    documents: np.ndarray
    positions: np.ndarray
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    noted: np.ndarray | None = None
    pooled: np.ndarray | None = None
    side: str = ""

    def place(self, row: int, index: int) -> str:
        """How messages name a position."""
        return f"row {row}, {self.side}{' ' * bool(self.side)}position {index}"

    @cached_property
    def scored(self) -> np.ndarray:
        """bool (B, L): as the losses see it, from targets and weights alone."""
        if self.targets is None or self.weights is None:
            return np.zeros(self.ids.shape, dtype=bool)
        return (self.targets != IGNORED) & (self.weights > 0)

    @property
    def all_targets(self) -> np.ndarray:
        """int64 (B, L): -100 where the side has no targets."""
        return np.full(self.ids.shape, IGNORED) if self.targets is None else self.targets

    @property
    def all_weights(self) -> np.ndarray:
        """float32 (B, L): 0 where the side has no weights."""
        return np.zeros(self.ids.shape, dtype=np.float32) if self.weights is None else self.weights

    @cached_property
    def last(self) -> np.ndarray:
        """bool (B, L): what follows is of another document, or nothing."""
        out = np.ones(self.ids.shape, dtype=bool)
        out[:, :-1] = self.documents[:, :-1] != self.documents[:, 1:]
        return out & (self.documents >= 0)

    @cached_property
    def predicts_next(self) -> bool:
        """Most of what is scored inside documents has the token that follows as its target."""
        return self._most(self.targets_follow, ~self.last)

    @cached_property
    def predicts_itself(self) -> bool:
        """Most of what is scored has the very token that is read there as its target."""
        return self._most(self.targets == self.ids, np.ones_like(self.scored)) and not self.predicts_next

    @cached_property
    def targets_follow(self) -> np.ndarray:
        """bool (B, L): the target is the token that stands next in the row."""
        out = np.zeros(self.ids.shape, dtype=bool)
        if self.targets is not None:
            out[:, :-1] = self.targets[:, :-1] == self.ids[:, 1:]
        return out

    def _most(self, holds: np.ndarray, where: np.ndarray) -> bool:
        asked = self.scored & where & (self.documents >= 0)
        return 2 * int((holds & asked).sum()) > int(asked.sum())

    @cached_property
    def predicts_beyond(self) -> np.ndarray:
        """bool (B, L): scored, the last of its document, and the target is the first token of what follows."""
        out = self.scored & self.last & self.targets_follow
        if self.side != "decoder":
            return out
        # A decoder's start token may also be the end token that its last position rightly predicts, as BART's is.
        return out & (self.all_targets != self.ids[:, :1])

    @cached_property
    def reasons(self) -> np.ndarray:
        """The name of a reason (a key of `LEGEND`) for each position, object (B, L)."""
        out = self._derived()
        if self.noted is not None:
            for reason in Reason:
                out[(self.noted == reason) & self._agrees(reason)] = reason.name
        return out

    def _derived(self) -> np.ndarray:
        out = np.full(self.ids.shape, "READ", dtype=object)
        if self.targets is not None and self.weights is not None:
            out[:] = "ZERO_WEIGHT"
            out[~(np.isfinite(self.weights) & (self.weights >= 0))] = "BAD_WEIGHT"
            out[self.targets == IGNORED] = "NO_TARGET"
            if self.predicts_next:
                out[(self.targets == IGNORED) & self.last] = "DOCUMENT_END"
        if self.pooled is not None:
            out[self.pooled] = "POOLED"
        out[self.documents < 0] = "PADDING"
        out[self.scored] = "SCORED"
        return out

    def _agrees(self, reason: Reason) -> np.ndarray:
        """bool (B, L): where the tensors allow what was noted."""
        if reason in SCORED_REASONS:
            out = self.scored
            if reason in (Reason.MASKED, Reason.KEPT):
                out = out & ((self.targets == self.ids) == (reason == Reason.KEPT))
            return out
        out = ~self.scored & (self._derived() != "BAD_WEIGHT")
        if reason == Reason.PADDING:
            return out & (self.documents < 0)
        if reason == Reason.DOCUMENT_END:
            out = out & self.last
        if reason == Reason.ZERO_WEIGHT:
            out = out & (self.targets != IGNORED)
        return out & (self.documents >= 0)
