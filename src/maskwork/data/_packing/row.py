"""`PackedRow`: documents end to end in one row, with what fills it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import ArgumentError
from .example import Example

Side = Literal["right", "left"]


@dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of packed blocks; its mask is `mw.within(…, lengths)`.

    Attributes:
        tokens: int64 (length,).
        lengths: those of the blocks, in order; they sum to the row's length.
        padding: how many tokens (of id 0) fill the row up: a block of their own, the last one, or the first.
        side: where the padding is.
        examples: what is scored in each document, in order, for rows made of examples; empty for rows of bare tokens.

    Padding is known by its position, never by its id.

    Raises:
        ArgumentError: tokens of another shape or dtype, or lengths, padding or examples that don't fit them.

    >>> row = PackedRow(np.array([5, 6, 7, 0]), lengths=(2, 1, 1), padding=1)
    >>> [document.tolist() for document in row.documents], row.document_lengths
    ([[5, 6], [7]], (2, 1))
    """

    tokens: np.ndarray
    lengths: tuple[int, ...]
    padding: int
    side: Side = "right"
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        if self.tokens.ndim != 1 or self.tokens.dtype != np.int64:
            found = f"shape {self.tokens.shape}, {self.tokens.dtype}"
            raise ArgumentError(f"a row's tokens are a 1-D int64 array; found {found}; convert them first")
        if min(self.lengths, default=0) < 1 or sum(self.lengths) != len(self.tokens):
            raise ArgumentError(
                f"a row's lengths are positive and sum to its {len(self.tokens)} tokens; "
                f"found {self.lengths}; count padding as a block of its own"
            )
        at, where = (-1, "last") if self.side == "right" else (0, "first")
        if self.padding not in (0, self.lengths[at]):
            raise ArgumentError(
                f"a row's padding is 0 or its {where} length, {self.lengths[at]}; found {self.padding}; "
                "count padding as a block of its own"
            )
        if self.examples and [len(example) for example in self.examples] != list(self.document_lengths):
            raise ArgumentError(
                f"a row's examples are its documents, of {self.document_lengths} tokens; found examples of "
                f"{[len(example) for example in self.examples]}; make the row with PackedRow.of"
            )

    @staticmethod
    def of(examples: Sequence[Example], length: int, side: Side = "right") -> PackedRow:
        """These examples end to end in a row of `length` tokens, which must hold them all."""
        tokens = np.zeros(length, dtype=np.int64)
        lengths = [len(example) for example in examples]
        used = sum(lengths)
        padding = length - used
        begin = padding if side == "left" else 0
        np.concatenate([example.tokens for example in examples], out=tokens[begin : begin + used])
        blocks = [padding] * (padding > 0)
        lengths = blocks + lengths if side == "left" else lengths + blocks
        return PackedRow(tokens, tuple(lengths), padding, side, tuple(examples))

    @property
    def document_lengths(self) -> tuple[int, ...]:
        """The lengths without the padding's."""
        if not self.padding:
            return self.lengths
        return self.lengths[:-1] if self.side == "right" else self.lengths[1:]

    @property
    def filled(self) -> slice:
        """Where the documents are, between no padding and the padding."""
        begin = self.padding if self.side == "left" else 0
        return slice(begin, begin + len(self.tokens) - self.padding)

    @property
    def documents(self) -> list[np.ndarray]:
        """The blocks without the padding, each an int64 array (length,)."""
        blocks = np.split(self.tokens, np.cumsum(self.lengths)[:-1])
        if not self.padding:
            return blocks
        return blocks[:-1] if self.side == "right" else blocks[1:]
