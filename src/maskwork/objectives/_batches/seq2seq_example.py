"""`Seq2SeqExample`: a source and its target; `pad_pairs` and `pack_pairs` lay pairs into rows."""

#   pairs   (aaa, x) (bb, yy) (c, z)
#
#   pad_pairs                    pack_pairs(max_source=4, max_target=3)
#   source   target              source    target
#   a a a    x .                 a a a c   x z .      first fit: the third pair still fits the first row
#   b b .    y y                 b b . .   y y .
#   c . .    z .

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..._shared.numbers import at_least
from ...data import IGNORED, Example, PackedRow, Reason, Side
from ...errors import ArgumentError
from ...masks import causal, full
from .._arguments import as_weights, token_id
from .collate import pad, unscored


@dataclass(frozen=True, eq=False)
class Seq2SeqExample:
    """A pair of examples, one for each side of an encoder-decoder.

    Attributes:
        source: what the encoder reads, and what it may see there; nothing in it is scored.
        target: what the decoder reads (its start token, then the targets before each position), its targets, weights
            and mask. The decoder also sees the whole source of its own pair, and of no other.

    Raises:
        ArgumentError: a side is empty.
    """

    source: Example
    target: Example

    def __post_init__(self) -> None:
        if not len(self.source) or not len(self.target):
            raise ArgumentError(
                "a pair has at least one token on each side, since attention reads the source and a prediction the "
                f"target, got {len(self.source)} and {len(self.target)}; append an end token, or leave the pair out"
            )

    @staticmethod
    def of(
        source: np.ndarray,
        target: np.ndarray,
        decoder_start: int,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Seq2SeqExample:
        """Make a pair by teacher forcing: the decoder reads `decoder_start` and all targets but the last.

        Each position of the decoder predicts the next token of the target.

        Args:
            source: (n,) int64, read both ways.
            target: (m,) int64, read causally.
            decoder_start: the token that the decoder begins with.
            weights: (m,) floats, how much each target counts; 1 if left out.

        >>> pair = Seq2SeqExample.of(np.array([5, 6]), np.array([7, 8, 1]), decoder_start=0)
        >>> pair.target.tokens.tolist(), pair.target.targets.tolist()
        ([0, 7, 8], [7, 8, 1])
        """
        first = token_id(decoder_start, "decoder_start")
        token_weights = as_weights(weights, len(target))
        # decoder reads   start x y
        # and predicts    x     y z
        start = [first] if len(target) else []
        read = np.concatenate([np.array(start, dtype=np.int64), target[:-1]])
        is_zero = token_weights == 0
        reasons = np.where(is_zero, Reason.ZERO_WEIGHT, Reason.SCORED).astype(np.uint8)
        targets = np.where(is_zero, IGNORED, target)
        return Seq2SeqExample(unscored(source, full()), Example(read, targets, token_weights, causal(), reasons))


@dataclass(frozen=True, eq=False)
class Seq2SeqRow:
    """A row of packed pairs: a row for the encoder and one for the decoder, with the same pairs in the same order.

    Attributes:
        source: what the encoder reads: S tokens.
        target: what the decoder reads: T tokens.

    Raises:
        ArgumentError: the two rows hold different numbers of examples, or none.
    """

    source: PackedRow
    target: PackedRow

    def __post_init__(self) -> None:
        sources, targets = len(self.source.examples), len(self.target.examples)
        if sources != targets or not sources:
            raise ArgumentError(
                f"a row of pairs has one source for each target, and a pair, got {sources} sources and {targets} "
                "targets; make rows with pad_pairs or pack_pairs"
            )


def pad_pairs(pairs: Sequence[Seq2SeqExample], *, side: Side = "right", multiple_of: int = 1) -> list[Seq2SeqRow]:
    """Lay each pair in a row of its own, padded to the longest source and the longest target.

    Args:
        pairs: at least one.
        side: the side on which sources are padded; targets are padded on the right.
        multiple_of: both lengths are rounded up to a multiple of this number.

    Raises:
        ArgumentError: no pairs, another side.

    >>> pairs = [Seq2SeqExample.of(np.arange(n), np.arange(m), 0) for n, m in ((3, 1), (2, 2))]
    >>> [(row.source.lengths, row.target.lengths) for row in pad_pairs(pairs, side="left")]
    [((3,), (1, 1)), ((1, 2), (2,))]
    """
    sources = pad([pair.source for pair in pairs], side=side, multiple_of=multiple_of)
    targets = pad([pair.target for pair in pairs], multiple_of=multiple_of)
    return [Seq2SeqRow(source, target) for source, target in zip(sources, targets, strict=True)]


def pack_pairs(
    pairs: Iterable[Seq2SeqExample], max_source: int, max_target: int, *, open_rows: int = 64
) -> Iterator[Seq2SeqRow]:
    """Pack several pairs to a row of `max_source` and `max_target` tokens: first fit, over a stream.

    Each pair goes into the oldest open row that has room for both its sides. When `open_rows` rows are open and none
    has room, the oldest row is yielded: no more rows are in memory. Packing is deterministic.

    Args:
        pairs: any number of pairs.
        max_source: the length of a row for the encoder.
        max_target: the length of a row for the decoder.
        open_rows: how many rows wait for pairs that fit, at least 1.

    Raises:
        ArgumentError: a pair doesn't fit an empty row, when the pair is reached; a length or `open_rows` is below 1.

    >>> pairs = [Seq2SeqExample.of(np.arange(n), np.arange(m), 0) for n, m in ((3, 1), (2, 2), (1, 1))]
    >>> [(row.source.document_lengths, row.target.document_lengths) for row in pack_pairs(pairs, 4, 3)]
    [((3, 1), (1, 1)), ((2,), (2,))]
    """
    max_source, max_target = at_least(max_source, 1, "max_source"), at_least(max_target, 1, "max_target")
    most_rows = at_least(open_rows, 1, "open_rows")
    rows: list[list[Seq2SeqExample]] = []  # the open ones, the oldest first
    for index, pair in enumerate(pairs):
        if not _fits([pair], max_source, max_target):
            raise ArgumentError(
                f"a pair fits a row of {max_source} and {max_target} tokens, got {len(pair.source)} and "
                f"{len(pair.target)} in pair {index}; cut its text, or make the rows longer"
            )
        row = next((row for row in rows if _fits([*row, pair], max_source, max_target)), None)
        if row is not None:
            row.append(pair)
            continue
        if len(rows) == most_rows:
            yield _row(rows.pop(0), max_source, max_target)
        rows.append([pair])
    for row in rows:
        yield _row(row, max_source, max_target)


def _fits(pairs: Sequence[Seq2SeqExample], max_source: int, max_target: int) -> bool:
    return (
        sum(len(pair.source) for pair in pairs) <= max_source and sum(len(pair.target) for pair in pairs) <= max_target
    )


def _row(pairs: Sequence[Seq2SeqExample], max_source: int, max_target: int) -> Seq2SeqRow:
    return Seq2SeqRow(
        PackedRow.of([pair.source for pair in pairs], max_source),
        PackedRow.of([pair.target for pair in pairs], max_target),
    )
