"""Packing: many examples laid into rows of one length, as full as can be, each row a list of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ...errors import ArgumentError
from .example import Example
from .fitting import alone, best_fit, first_fit, sequential
from .row import PackedRow
from .tokens import as_count, as_tokens

Strategy = Literal["best_fit", "first_fit", "sequential", "pad"]
Overflow = Literal["raise", "split", "truncate"]

#: A document, or what was cut off one: bare tokens, or an example that says what is scored.
Piece = np.ndarray | Example


def pack(
    examples: Iterable[Sequence[int] | np.ndarray | Example],
    max_len: int,
    strategy: Strategy = "best_fit",
    overflow: Overflow = "raise",
    *,
    buffer: int = 512,
) -> PackedRows:
    """Packs examples, of any number, into rows of exactly `max_len` tokens.

    Args:
        examples: sequences of token ids (lists or arrays of integers >= 0), or `Example`s, which say what is scored.
        max_len: length of a row in tokens, at least 2.
        strategy: which examples share a row.

            - `"best_fit"`: best-fit decreasing, the longest first, each into the fullest row that has room (Ding et al.
              2024, "Fewer Truncations Improve Language Modeling"), over one buffer after another. Rows of a buffer
              come in the order of their longest example, so shuffle them for training.
            - `"first_fit"`: in order, each into the oldest of `buffer` open rows that has room; rows come about in the
              order of the examples.
            - `"sequential"`: in order, holding one row; a stream may never end.
            - `"pad"`: each example in a row of its own.
        overflow: what becomes of an example longer than a row: an error; pieces of at most `max_len`; or its first
            `max_len` tokens. Pieces of bare tokens overlap by one, so that every token of an example but its first is
            predicted exactly once; those of an `Example` do not, since its targets are aligned with its tokens.
        buffer: how many rows' tokens `"best_fit"` and `"first_fit"` hold at once: `buffer * max_len` tokens, and the
            example that is being read. A token takes 8 bytes, one of an `Example` 21.

    Returns:
        An iterator of `PackedRow`, with `.waste` for what was packed so far. Equal input gives equal rows. Bare
        examples of fewer than two tokens, and empty `Example`s, have nothing to predict: they are dropped and counted.

    Raises:
        ArgumentError: at the call, for anything but `examples`; at iteration, for an example that is not one, is of
            another kind than the first, or is too long for a row.

    >>> rows = pack([[1, 2, 3, 4, 5, 6], [7, 8]], max_len=4, overflow="split")
    >>> [(row.tokens.tolist(), row.lengths) for row in rows]
    [([1, 2, 3, 4], (4,)), ([4, 5, 6, 0], (3, 1)), ([7, 8, 0, 0], (2, 2))]
    >>> print(rows.waste)
    3 rows, 9 of 12 slots used (75.00 %); 2 examples, 0 dropped, 0 tokens truncated
    """
    return PackedRows(Packing(max_len, strategy, overflow, buffer), examples)


@dataclass(frozen=True)
class Waste:
    """What packing has used and lost.

    Attributes:
        rows: rows given out.
        slots: positions in them.
        used: those that hold tokens, padding left out.
        examples: examples read.
        dropped: those with nothing to predict, which are in no row.
        truncated: tokens cut off by `overflow="truncate"`.
    """

    rows: int = 0
    slots: int = 0
    used: int = 0
    examples: int = 0
    dropped: int = 0
    truncated: int = 0

    @property
    def share(self) -> float:
        """Used slots, from 0 to 1; 1 where there are none."""
        return self.used / self.slots if self.slots else 1.0

    def __str__(self) -> str:
        return (
            f"{self.rows} rows, {self.used} of {self.slots} slots used ({self.share:.2%}); "
            f"{self.examples} examples, {self.dropped} dropped, {self.truncated} tokens truncated"
        ).replace("%", " %")


class PackedRows(Iterator[PackedRow]):
    """The rows that `pack` makes, one at a time, and what they waste."""

    def __init__(self, packing: Packing, examples: Iterable[Sequence[int] | np.ndarray | Example]) -> None:
        self._pieces = Pieces(packing, examples)
        self._rows = drained(packing.groups(self._pieces))
        self._max_len = packing.max_len
        self._given = self._used = 0

    def __next__(self) -> PackedRow:
        row = row_of(next(self._rows), self._max_len)
        self._given += 1
        self._used += self._max_len - row.padding
        return row

    @property
    def waste(self) -> Waste:
        """Of the rows given out and the examples read so far, those in the buffer included."""
        read = self._pieces
        return Waste(self._given, self._given * self._max_len, self._used, read.examples, read.dropped, read.truncated)


@dataclass(frozen=True)
class Packing:
    """The arguments of `pack`, checked."""

    max_len: int
    strategy: Strategy
    overflow: Overflow
    buffer: int

    def __post_init__(self) -> None:
        if as_count(self.max_len) < 2:
            raise ArgumentError(
                f"max_len must be an integer of at least 2, a token to read and one to predict; "
                f"found {self.max_len!r}; give the length of a row in tokens"
            )
        if as_count(self.buffer) < 1:
            raise ArgumentError(
                f"buffer must be an integer of at least 1; found {self.buffer!r}; give a number of rows to hold at once"
            )
        for what, value, kind in (
            ("a packing strategy", self.strategy, Strategy),
            ("overflow", self.overflow, Overflow),
        ):
            if value not in get_args(kind):
                choices = ", ".join(map(repr, get_args(kind)))
                raise ArgumentError(f"{what} is one of {choices}; found {value!r}; choose one of them")

    def groups(self, pieces: Iterable[Piece]) -> Iterator[list[list[Piece]]]:
        """Rows as lists of pieces, in groups that were decided together."""
        if self.strategy == "best_fit":
            return best_fit(pieces, self.max_len, self.buffer)
        if self.strategy == "first_fit":
            return first_fit(pieces, self.max_len, self.buffer)
        return sequential(pieces, self.max_len) if self.strategy == "sequential" else alone(pieces)


class Pieces:
    """The examples, checked and cut to at most `max_len` tokens, and the count of them; read once."""

    def __init__(self, packing: Packing, examples: Iterable[Sequence[int] | np.ndarray | Example]) -> None:
        self._packing, self._source = packing, examples
        self.examples = self.dropped = self.truncated = 0

    def __iter__(self) -> Iterator[Piece]:
        scored: bool | None = None
        for index, item in enumerate(self._source):
            self.examples += 1
            scored = isinstance(item, Example) if scored is None else scored
            if isinstance(item, Example) != scored:
                kinds = "an Example", "bare tokens"
                first, found = kinds if scored else reversed(kinds)
                raise ArgumentError(
                    f"examples are of one kind; found {found} as example {index} after {first}; "
                    "make an Example of each with an objective, or of none"
                )
            example = item if isinstance(item, Example) else as_tokens(item, index)
            if len(example) < (1 if scored else 2):
                self.dropped += 1
            elif len(example) <= self._packing.max_len:
                yield example
            else:
                yield from self._cut(example, index)

    def _cut(self, example: Piece, index: int) -> Iterator[Piece]:
        max_len, overflow = self._packing.max_len, self._packing.overflow
        if overflow == "raise":
            raise ArgumentError(
                f"an example fits into a row of {max_len} tokens; example {index} has {len(example)}; "
                'pass overflow="split" or "truncate", or a larger max_len'
            )
        if overflow == "truncate":
            self.truncated += len(example) - max_len
            yield _slice(example, 0, max_len)
            return
        overlap = 0 if isinstance(example, Example) else 1
        for start in range(0, len(example) - overlap, max_len - overlap):
            yield _slice(example, start, min(start + max_len, len(example)))


def drained(groups: Iterable[list[list[Piece]]]) -> Iterator[list[Piece]]:
    """The rows of all groups, each let go of as it is taken: the next buffer fills as the last one is emptied."""
    for group in groups:
        group.reverse()
        while group:
            yield group.pop()


def row_of(pieces: Sequence[Piece], max_len: int) -> PackedRow:
    """One finished row."""
    examples = [piece for piece in pieces if isinstance(piece, Example)]
    if examples:
        return PackedRow.of(examples, max_len)
    tokens = np.zeros(max_len, dtype=np.int64)
    lengths = [len(piece) for piece in pieces]
    used = sum(lengths)
    np.concatenate(pieces, out=tokens[:used])
    padding = max_len - used
    return PackedRow(tokens, tuple(lengths + [padding] * (padding > 0)), padding)


def _slice(example: Piece, start: int, stop: int) -> Piece:
    """A copy: a view would hold the whole of a long example for as long as one piece of it waits in the buffer."""
    return example.piece(start, stop) if isinstance(example, Example) else example[start:stop].copy()
