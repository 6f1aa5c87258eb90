"""The tensors of a batch as plain arrays, what is scored in them, and a reason for every position.

A reason that an objective noted only names the cause. A noted reason that contradicts the tensors gives way to a reason
derived from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...data import IGNORED, Reason

#: The meaning of each reason. From BAD_WEIGHT on reasons are derived from the tensors and noted by no objective.
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
    "READ": "read by the model; the scored targets are elsewhere",
    "POOLED": "the output here is what the sequence's class is predicted from",
}

#: Reasons of scored positions; every other reason says why a position is not scored.
SCORED_REASONS = (Reason.SCORED, Reason.MASKED, Reason.RANDOM, Reason.KEPT)


@dataclass(eq=False)
class SideArrays:
    """The tensors of one side of a model, B rows of L positions, as arrays on the CPU, with what follows from them.

    Attributes:
        ids, documents, positions: int64 (B, L): tokens, document ids (-1 on padding) and positions in the document.
        targets, weights, noted: (B, L) targets, weights and reasons that an objective noted; None where the side has
            none, as an encoder's.
        pooled: bool (B, L), the positions that a sequence's class is predicted from; None for a target per token.
        name: "encoder", "decoder" or "".
        scored: bool (B, L), what the losses see, from targets and weights alone.
        last: bool (B, L), a document's last position: another document, padding or nothing follows.
        targets_follow: bool (B, L), the target is the next token of the row.
        predicts_next: whether most scored positions inside documents have the next token as target.
        predicts_itself: whether most scored positions have as target the very token that is read there.
        predicts_beyond: bool (B, L), scored, a document's last position, and the target is the first token after it.
        reasons: object (B, L), the name of a reason (a key of `LEGEND`) for each position.
    """

    ids: np.ndarray
    documents: np.ndarray
    positions: np.ndarray
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    noted: np.ndarray | None = None
    pooled: np.ndarray | None = None
    name: str = ""
    scored: np.ndarray = field(init=False)
    last: np.ndarray = field(init=False)
    targets_follow: np.ndarray = field(init=False)
    predicts_next: bool = field(init=False)
    predicts_itself: bool = field(init=False)
    predicts_beyond: np.ndarray = field(init=False)
    reasons: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = self.ids.shape
        self.scored = np.zeros(shape, dtype=bool)
        if self.targets is not None and self.weights is not None:
            self.scored = (self.targets != IGNORED) & (self.weights > 0)
        self.last = np.ones(shape, dtype=bool)
        self.last[:, :-1] = self.documents[:, :-1] != self.documents[:, 1:]
        self.last &= self.documents >= 0
        self.targets_follow = np.zeros(shape, dtype=bool)
        if self.targets is not None:
            self.targets_follow[:, :-1] = self.targets[:, :-1] == self.ids[:, 1:]
        # A document's last position tells nothing of the objective: its right target lies elsewhere.
        self.predicts_next = self._mostly(self.targets_follow, ~self.last)
        reads_target = np.zeros(shape, dtype=bool) if self.targets is None else self.targets == self.ids
        self.predicts_itself = self._mostly(reads_target, np.ones(shape, dtype=bool)) and not self.predicts_next
        self.predicts_beyond = self.scored & self.last & self.targets_follow
        if self.name == "decoder":
            # A decoder's start token may also be the end token that its last position rightly predicts, as BART's is.
            self.predicts_beyond &= self.all_targets != self.ids[:, :1]
        self.reasons = self._reasons()

    def place(self, row: int, index: int) -> str:
        """Name a position for a message."""
        return f"row {row}, {self.name}{' ' * bool(self.name)}position {index}"

    @property
    def all_targets(self) -> np.ndarray:
        """The targets, int64 (B, L): -100 where the side has none."""
        return np.full(self.ids.shape, IGNORED) if self.targets is None else self.targets

    @property
    def all_weights(self) -> np.ndarray:
        """The weights, float32 (B, L): 0 where the side has none."""
        return np.zeros(self.ids.shape, dtype=np.float32) if self.weights is None else self.weights

    def _mostly(self, holds: np.ndarray, considered: np.ndarray) -> bool:
        """Return whether `holds` is true for more than half of the scored tokens among `considered`."""
        scored = self.scored & considered & (self.documents >= 0)
        return 2 * int((holds & scored).sum()) > int(scored.sum())

    def _reasons(self) -> np.ndarray:
        derived = self._derived_reasons()
        out = derived.copy()
        if self.noted is not None:
            for reason in Reason:
                out[(self.noted == reason) & self._agrees(reason, derived)] = reason.name
        return out

    def _derived_reasons(self) -> np.ndarray:
        """Derive the reasons, object (B, L), from the tensors; a later assignment is the stronger reason."""
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

    def _agrees(self, reason: Reason, derived: np.ndarray) -> np.ndarray:
        """Return bool (B, L): the positions at which the tensors allow a noted reason."""
        if reason in SCORED_REASONS:
            out = self.scored
            # a masked token is read as another, a kept one as itself
            if reason in (Reason.MASKED, Reason.KEPT):
                out = out & ((self.targets == self.ids) == (reason == Reason.KEPT))
            return out
        out = ~self.scored & (derived != "BAD_WEIGHT")
        if reason == Reason.PADDING:
            return out & (self.documents < 0)
        if reason == Reason.DOCUMENT_END:
            out = out & self.last
        if reason == Reason.ZERO_WEIGHT:
            out = out & (self.targets != IGNORED)
        return out & (self.documents >= 0)
