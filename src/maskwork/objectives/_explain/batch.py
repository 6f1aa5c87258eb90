"""`explain_batch`: every token of a batch's final tensors with its target, weight, document and the reason."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data import IGNORED, Reason, token_text
from .checks import BatchWarning
from .grid import LEGEND, SCORED_REASONS, Grid
from .sides import sides_of, warnings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.text import Text


@dataclass(frozen=True)
class ExplainedToken:
    """One position of the final tensors.

    Attributes:
        index, id, text: the column, the token that the model reads there, and its text (`maskwork.data.visible`).
        scored: whether the model's output at this position counts in the loss.
        target, target_text: what that output is to predict, already aligned; -100 and "" where there is none.
        weight: how much it counts.
        document, position: as in the batch; document -1 is padding.
        reason: why it is scored, or why not: a key of the explanation's legend.
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
    """The one target of a whole sequence, where a batch has one per sequence; the names are those of a token."""

    scored: bool
    target: int
    target_text: str
    weight: float
    reason: str


@dataclass(frozen=True)
class Summary:
    """What a row, or a batch, adds up to; `tokens` leaves the padding out.

    `scored` positions count in the loss, of `of` tokens, or sequences where these have one target each;
    `scored_padding` of them are padding, by mistake.
    """

    tokens: int
    padding: int
    documents: int
    scored: int
    scored_padding: int
    of: int
    unit: str
    weight_sum: float

    @property
    def share(self) -> float:
        """The part that is scored, of all that is not padding."""
        return (self.scored - self.scored_padding) / self.of if self.of else 0.0

    def __str__(self) -> str:
        scored = f"{self.scored - self.scored_padding} of {_many(self.of, self.unit)} scored ({self.share:.1%})"
        scored += f" AND {self.scored_padding} OF PADDING" if self.scored_padding else ""
        parts = [scored, f"weight {self.weight_sum:g}", _many(self.documents, "document"), f"{self.padding} padding"]
        return ", ".join(parts)


@dataclass(frozen=True)
class ExplainedRow:
    """One row of the batch, or one side of it: `side` is "encoder", "decoder" or ""."""

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
class BatchExplanation:
    """What `explain_batch` found: a value that prints itself.

    `show()` prints it in colour, `str()` and `to_text()` without, a notebook shows `to_html()`, and `to_json()` has
    every value. Nothing needs colour to be read: ⟦ ⟧ stand round the tokens whose output is scored.

    Attributes:
        rows: every token of every row; of an encoder and a decoder, a row each.
        summary: of the whole batch.
        reasons: how many positions each reason has.
        warnings: mistakes that the tensors and the mask show.
        has_text: whether there was a tokenizer, or every token is its id.
    """

    rows: tuple[ExplainedRow, ...]
    summary: Summary
    reasons: dict[str, int]
    warnings: tuple[BatchWarning, ...]
    has_text: bool

    @property
    def legend(self) -> dict[str, str]:
        """What each reason that occurs means."""
        return {reason: LEGEND[reason] for reason in self.reasons}

    def show(self, width: int | None = None) -> None:
        """Print it to the terminal, in colour where the terminal has any; `width` columns."""
        from rich.console import Console

        Console(width=width, highlight=False).print(self)

    def to_text(self, width: int = 100) -> str:
        """The same as plain text; running text is broken to `width` columns."""
        from .text import lines

        return "".join("".join(text for text, _ in line) + "\n" for line in lines(self, width))

    def to_html(self) -> str:
        """A whole HTML page that needs nothing else: no scripts, no fonts, no network."""
        from .html import page

        return page(self)

    def to_json(self) -> str:
        """Every value as JSON; weights that are not finite are the strings "nan", "inf" and "-inf"."""
        values = asdict(self) | {"legend": self.legend}
        return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from .html import fragment

        return fragment(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment | Text]:
        from rich.cells import cell_len
        from rich.segment import Segment
        from rich.text import Text

        from .text import lines

        for line in lines(self, options.max_width):
            if sum(cell_len(text) for text, _ in line) > options.max_width:
                yield Text.assemble(*line, overflow="fold")  # Segments would be cut off there
                continue
            yield from (Segment(text, console.get_style(style or "none")) for text, style in line)
            yield Segment.line()


def explain_batch(batch: Any, tokenizer: Any = None, *, labels: Sequence[str] | None = None) -> BatchExplanation:
    """Say of every token of `batch` what is scored there, and why.

    The tensors are the truth: what is shown is what the losses will see, whoever changed them last. `batch.reasons`
    only names why; where it contradicts them the reason is derived from the tensors, as it is when there is none.

    Args:
        batch: the final tensors, on any device: a `Batch`, or one with an encoder's and a decoder's side, or with one
            target per sequence.
        tokenizer: `maskwork.data.Tokenizer`, a tokenizer of transformers, a callable from id to text, or None for ids.
        labels: names of the targets where these are classes and not tokens, as in tagging.

    Returns:
        The explanation. Its warnings name what is a mistake in any objective: scored padding, a document scored on
        the next one's first token, targets that are not shifted, a mask that shows another document or the target.

    Raises:
        ArgumentError: `tokenizer` is none of those.

    >>> from maskwork.objectives import CausalLM
    >>> words = ["<pad>", "The", "cat", "ate", "fish"]
    >>> batch = CausalLM()([[1, 2, 3], [1, 2, 3, 4]])
    >>> explanation = explain_batch(batch, words.__getitem__)
    >>> explanation.summary.scored, explanation.reasons
    (5, {'SCORED': 5, 'DOCUMENT_END': 2, 'PADDING': 1})
    >>> print(explanation.to_text().splitlines()[0])
    batch of 2 rows: 5 of 7 tokens scored (71.4%), weight 5, 2 documents, 1 padding
    """
    sides = sides_of(batch)
    text = str if tokenizer is None else token_text(tokenizer)
    sequences = _sequences(batch, labels) if batch.targets.ndim == 1 else None
    # Beside a sequence's class, which the labels name, the targets of tokens are tokens.
    names = text if labels is None or sequences is not None else token_text(labels.__getitem__)
    rows = tuple(
        _row(grid, row, text, names, None if sequences is None else sequences[row])
        for row in range(len(batch.input_ids))
        for grid in sides
    )
    reasons = Counter(token.reason for row in rows for token in row.tokens)
    return BatchExplanation(
        rows=rows,
        summary=_summary(sides[-1], slice(None), sequences if sides[-1].targets is None else None),
        reasons=dict(reasons.most_common()),
        warnings=tuple(warnings_of(batch, sides)),
        has_text=tokenizer is not None,
    )


def _row(
    grid: Grid,
    row: int,
    text: Callable[[int], str],
    names: Callable[[int], str],
    sequence: ExplainedSequence | None,
) -> ExplainedRow:
    tokens: list[ExplainedToken] = []
    columns = grid.ids, grid.scored, grid.all_targets, grid.all_weights, grid.documents, grid.positions, grid.reasons
    for index, values in enumerate(zip(*(column[row].tolist() for column in columns), strict=True)):
        id_, scored, target, weight, document, position, reason = values
        words = text(id_), "" if target == IGNORED else names(target)
        tokens.append(
            ExplainedToken(index, id_, words[0], scored, target, words[1], weight, document, position, reason)
        )
    summary = _summary(grid, slice(row, row + 1), [sequence] if sequence and grid.targets is None else None)
    return ExplainedRow(row, grid.side, tuple(tokens), summary, sequence)


def _sequences(batch: Any, labels: Sequence[str] | None) -> list[ExplainedSequence]:
    """One target per sequence is a class and never a token."""
    names = str if labels is None else token_text(labels.__getitem__)
    noted = [int(Reason.SCORED)] * len(batch.targets) if batch.reasons is None else batch.reasons.tolist()
    out: list[ExplainedSequence] = []
    for target, weight, note in zip(batch.targets.tolist(), batch.weights.tolist(), noted, strict=True):
        scored = target != IGNORED and weight > 0
        reason = "SCORED" if scored else "NO_TARGET" if target == IGNORED else "ZERO_WEIGHT"
        if not scored and note in list(Reason) and note not in SCORED_REASONS:
            reason = Reason(note).name
        out.append(ExplainedSequence(scored, target, "" if target == IGNORED else names(target), weight, reason))
    return out


def _summary(grid: Grid, rows: slice, sequences: list[ExplainedSequence] | None) -> Summary:
    documents, scored = grid.documents[rows], grid.scored[rows]
    tokens = int((documents >= 0).sum())
    if sequences is None:
        count, of, unit = int(scored.sum()), tokens, "token"
        weight_sum = float(grid.all_weights[rows][scored].astype(np.float64).sum())
    else:
        count, of, unit = sum(one.scored for one in sequences), len(sequences), "sequence"
        weight_sum = sum(one.weight for one in sequences if one.scored)
    in_rows = sum(len(np.unique(row[row >= 0])) for row in documents)
    amiss = int((scored & (documents < 0)).sum())
    return Summary(tokens, int((documents < 0).sum()), in_rows, count, amiss, of, unit, weight_sum)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
