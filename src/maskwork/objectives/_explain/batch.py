"""`explain_batch`: every token of a batch's final tensors with its target, weight, document and the reason."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._shared.numbers import at_least
from ...data import IGNORED, Reason, token_text
from .arrays import SCORED_REASONS, SideArrays
from .rows import ExplainedRow, ExplainedSequence, ExplainedToken, ExplanationValues, Summary
from .sides import sides_of, warnings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.text import Text


@dataclass(frozen=True)
class BatchExplanation(ExplanationValues):
    """The result of `explain_batch`: a value that prints itself.

    `show()` prints it in colour, `str()` and `to_text()` without, a notebook shows `to_html()`, and `to_json()` has
    every value. Nothing needs colour to be read: ⟦ ⟧ surround the tokens whose output is scored.

    Attributes:
        rows: every token of every row; an encoder and a decoder have a row each.
        summary: the sums of the batch.
        reasons: the number of positions with each reason.
        warnings: mistakes that the tensors and the mask show.
        has_text: whether there was a tokenizer; without, every token is printed as its id.
    """

    def show(self, width: int | None = None) -> None:
        """Print the explanation to the terminal, in colour if the terminal has any; `width` columns."""
        from rich.console import Console

        columns = None if width is None else at_least(width, 1, "width")
        Console(width=columns, highlight=False).print(self)

    def to_text(self, width: int = 100) -> str:
        """Return the explanation as plain text; running text is broken to `width` columns."""
        from .text import lines

        width = at_least(width, 1, "width")
        return "".join("".join(text for text, _ in line) + "\n" for line in lines(self, width))

    def to_html(self) -> str:
        """Return a complete HTML page, without scripts, fonts or network."""
        from .html import page

        return page(self)

    def to_json(self) -> str:
        """Return every value as JSON; weights that are not finite are the strings "nan", "inf" and "-inf"."""
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
                yield Text.assemble(*line, overflow="fold")  # rich would cut Segments off at the width
                continue
            # Segments, because a Text for each of thousands of lines takes seconds.
            yield from (Segment(text, console.get_style(style or "none")) for text, style in line)
            yield Segment.line()


def explain_batch(batch: Any, tokenizer: Any = None, *, labels: Sequence[str] | None = None) -> BatchExplanation:
    """Explain every token of `batch`: whether it is scored, and why.

    The tensors are the truth: the explanation shows what the losses will see, whatever changed the tensors last.
    `batch.reasons` only names the reason; a reason that contradicts the tensors, or is missing, is derived from them.

    Args:
        batch: the final tensors, on any device: a `Batch`, or a batch with the sides of an encoder and a decoder, or
            with one target per sequence.
        tokenizer: `maskwork.data.Tokenizer`, a tokenizer of transformers, a callable from id to text, or None for ids.
        labels: names of the targets where these are classes and not tokens, as in tagging.

    Returns:
        The explanation. Its warnings name mistakes in any objective: scored padding, a document scored on the first
        token of the next document, targets that are not shifted, a mask that shows another document or the target.

    Raises:
        ArgumentError: `tokenizer` is no tokenizer and no callable.

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
    # In a batch with one class per sequence the labels name the classes, and the targets of tokens are tokens.
    names = text if labels is None or sequences is not None else token_text(labels.__getitem__)
    rows = tuple(
        _row(side, row, text, names, None if sequences is None else sequences[row])
        for row in range(len(batch.input_ids))
        for side in sides
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
    side: SideArrays,
    row: int,
    text: Callable[[int], str],
    names: Callable[[int], str],
    sequence: ExplainedSequence | None,
) -> ExplainedRow:
    """Explain one row of one side; `text` and `names` turn a token's id and a target's id into text."""
    tokens: list[ExplainedToken] = []
    # One conversion to Python numbers a column: indexing arrays position by position is many times slower.
    columns = side.ids, side.scored, side.all_targets, side.all_weights, side.documents, side.positions, side.reasons
    for index, values in enumerate(zip(*(column[row].tolist() for column in columns), strict=True)):
        id_, scored, target, weight, document, position, reason = values
        words = text(id_), "" if target == IGNORED else names(target)
        tokens.append(
            ExplainedToken(index, id_, words[0], scored, target, words[1], weight, document, position, reason)
        )
    summary = _summary(side, slice(row, row + 1), [sequence] if sequence and side.targets is None else None)
    return ExplainedRow(row, side.name, tuple(tokens), summary, sequence)


def _sequences(batch: Any, labels: Sequence[str] | None) -> list[ExplainedSequence]:
    """Explain the target of each sequence, which is a class and never a token."""
    names = str if labels is None else token_text(labels.__getitem__)
    noted = [int(Reason.SCORED)] * len(batch.targets) if batch.reasons is None else batch.reasons.tolist()
    out: list[ExplainedSequence] = []
    for target, weight, note in zip(batch.targets.tolist(), batch.weights.tolist(), noted, strict=True):
        scored = target != IGNORED and weight > 0
        reason = "SCORED" if scored else "NO_TARGET" if target == IGNORED else "ZERO_WEIGHT"
        # a noted reason is only believed where the tensors agree
        if not scored and note in list(Reason) and note not in SCORED_REASONS:
            reason = Reason(note).name
        out.append(ExplainedSequence(scored, target, "" if target == IGNORED else names(target), weight, reason))
    return out


def _summary(side: SideArrays, rows: slice, sequences: list[ExplainedSequence] | None) -> Summary:
    """Sum up rows of a side: by token, or by sequence if there are `sequences`."""
    documents, scored = side.documents[rows], side.scored[rows]
    tokens = int((documents >= 0).sum())
    if sequences is None:
        count, total, unit = int(scored.sum()), tokens, "token"
        weight_sum = float(side.all_weights[rows][scored].astype(np.float64).sum())
    else:
        count, total, unit = sum(sequence.scored for sequence in sequences), len(sequences), "sequence"
        weight_sum = sum(sequence.weight for sequence in sequences if sequence.scored)
    # ids count from 0 in each row: the same id in two rows is two documents
    n_documents = sum(len(np.unique(row[row >= 0])) for row in documents)
    scored_padding = int((scored & (documents < 0)).sum())
    padding = int((documents < 0).sum())
    return Summary(tokens, padding, n_documents, count, scored_padding, total, unit, weight_sum)


def _finite(value: Any) -> Any:
    """Replace numbers that JSON lacks by strings, in nested lists and dictionaries."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
