"""`PackedRow`: documents end to end in one row, and the padding that fills the row up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..._shared.numbers import at_least
from ...errors import ArgumentError
from .example import Example

#: The end of a row at which padding stands.
Side = Literal["right", "left"]


@dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of packed blocks; the row's mask is `mw.within(…, lengths)`.

        tokens   a a a b b c c c c 0 0    padding = 2, side = "right"
        lengths  (3,   2,  4,      2)     the padding is a block of its own

    Attributes:
        tokens: int64 (length,).
        lengths: the lengths of the blocks, in order; they sum to the row's length.
        padding: how many tokens (of id 0) fill the row up: a block of their own, the last one, or the first.
        side: the end at which the padding stands.
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
            raise ArgumentError(
                f"a row's tokens must be a 1-D int64 array, got shape {self.tokens.shape}, {self.tokens.dtype}; "
                "convert them first"
            )
        lengths = tuple(at_least(length, 1, "each of a row's lengths") for length in self.lengths)
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "padding", at_least(self.padding, 0, "a row's padding"))
        if not lengths or sum(lengths) != len(self.tokens):
            raise ArgumentError(
                f"a row's lengths must sum to its {len(self.tokens)} tokens, got {lengths}; "
                "count padding as a block of its own"
            )
        block, ordinal = (-1, "last") if self.side == "right" else (0, "first")
        if self.padding not in (0, lengths[block]):
            raise ArgumentError(
                f"a row's padding must be 0 or its {ordinal} length, {lengths[block]}, got {self.padding}; "
                "count padding as a block of its own"
            )
        if self.examples and [len(example) for example in self.examples] != list(self.document_lengths):
            raise ArgumentError(
                f"a row's examples must be its documents, of {self.document_lengths} tokens, got examples of "
                f"{[len(example) for example in self.examples]}; make the row with PackedRow.of"
            )

    @staticmethod
    def of(examples: Sequence[Example], length: int, side: Side = "right") -> PackedRow:
        """Return a row of `length` tokens with these examples end to end.

        Raises:
            ArgumentError: the examples are longer than the row.
        """
        length = at_least(length, 1, "a row's length")
        lengths = [len(example) for example in examples]
        used = sum(lengths)
        padding = length - used
        if padding < 0:
            raise ArgumentError(f"a row must hold its examples, got {used} tokens for a row of {length}")
        tokens = np.zeros(length, dtype=np.int64)
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
        """The slice of the tokens that the documents take, without the padding."""
        begin = self.padding if self.side == "left" else 0
        return slice(begin, begin + len(self.tokens) - self.padding)

    @property
    def documents(self) -> list[np.ndarray]:
        """The blocks without the padding, each an int64 array (length,)."""
        blocks = np.split(self.tokens, np.cumsum(self.lengths)[:-1])
        if not self.padding:
            return blocks
        return blocks[:-1] if self.side == "right" else blocks[1:]
