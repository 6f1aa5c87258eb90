"""The values of an explanation: tokens, rows and sums, and `ExplanationValues`, what text and HTML are made from."""

from __future__ import annotations

from dataclasses import dataclass

from .arrays import LEGEND
from .checks import BatchWarning


@dataclass(frozen=True)
class ExplainedToken:
    """One position of the final tensors.

    Attributes:
        index, id, text: the column, the token that the model reads there, and its text (`maskwork.data.visible`).
        scored: whether the model's output at this position counts in the loss.
        target, target_text: the token to predict, already aligned; -100 and "" where there is no target.
        weight: how much the target counts.
        document, position: as in the batch; document -1 is padding.
        reason: why the position is scored, or why not: a key of the explanation's legend.
    """

    index: int
    id: int
    text: str
    scored: bool
    target: int
    target_text: str
    weight: float
    document: int
    position: int
    reason: str


@dataclass(frozen=True)
class ExplainedSequence:
    """The target of a full sequence, in a batch with one target per sequence; the fields are those of a token."""

    scored: bool
    target: int
    target_text: str
    weight: float
    reason: str


@dataclass(frozen=True)
class Summary:
    """The sums of a row, or of a batch.

    Attributes:
        tokens, padding: positions that are tokens, and positions that are padding.
        documents: the number of documents.
        scored: positions that count in the loss, padding included.
        scored_padding: scored positions that are padding, by mistake.
        total: the number of units that could be scored.
        unit: "token", or "sequence" where a sequence has one target.
        weight_sum: the sum of the scored weights.
    """

    tokens: int
    padding: int
    documents: int
    scored: int
    scored_padding: int
    total: int
    unit: str
    weight_sum: float

    @property
    def share(self) -> float:
        """The share of scored units, without padding."""
        return (self.scored - self.scored_padding) / self.total if self.total else 0.0

    def __str__(self) -> str:
        scored = f"{self.scored - self.scored_padding} of {_counted(self.total, self.unit)} scored ({self.share:.1%})"
        scored += f" AND {self.scored_padding} OF PADDING" if self.scored_padding else ""
        parts = [scored, f"weight {self.weight_sum:g}", _counted(self.documents, "document"), f"{self.padding} padding"]
        return ", ".join(parts)


@dataclass(frozen=True)
class ExplainedRow:
    """One row of the batch, or one side of the row: `side` is "encoder", "decoder" or ""."""

    row: int
    side: str
    tokens: tuple[ExplainedToken, ...]
    summary: Summary
    sequence: ExplainedSequence | None = None

    @property
    def title(self) -> str:
        name = f"row {self.row}{' ' * bool(self.side)}{self.side}: {self.summary}"
        if self.sequence is None:
            return name
        target = f"{self.sequence.target_text or self.sequence.target}, {self.sequence.reason}"
        return f"{name}; the sequence's target: {target}"


@dataclass(frozen=True)
class ExplanationValues:
    """Every value of an explanation, without the ways to print them; the fields are those of `BatchExplanation`."""

    rows: tuple[ExplainedRow, ...]
    summary: Summary
    reasons: dict[str, int]
    warnings: tuple[BatchWarning, ...]
    has_text: bool

    @property
    def legend(self) -> dict[str, str]:
        """The meaning of each reason that occurs."""
        return {reason: LEGEND[reason] for reason in self.reasons}


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
