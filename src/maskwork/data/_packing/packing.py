"""Packing: many examples laid into rows of one length, as full as can be, each row a list of blocks.

    examples  ->  Pieces: checked, cut to max_len  ->  strategy: pieces into rows  ->  row_of: PackedRow

A strategy decides by the lengths of the pieces alone, deterministically and in bounded memory. It takes a stream of
pieces (anything with a length of 1 to `max_len`) and yields groups of finished rows, each row a list of pieces; the
rows of a group were decided together. The caller may empty a group.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from ..._shared.numbers import at_least
from ...errors import ArgumentError
from .example import Example, as_tokens
from .row import PackedRow

Strategy = Literal["best_fit", "first_fit", "sequential", "pad"]
Overflow = Literal["raise", "split", "truncate"]

#: A document or a part of one: bare tokens, or an example that says what is scored.
Piece = np.ndarray | Example

#: A piece as a strategy sees it: anything with a length.
Item = TypeVar("Item", bound=Sized)


def pack(
    examples: Iterable[Sequence[int] | np.ndarray | Example],
    max_len: int,
    strategy: Strategy = "best_fit",
    overflow: Overflow = "raise",
    *,
    buffer: int = 512,
) -> PackedRows:
    """Pack examples, of any number, into rows of exactly `max_len` tokens.

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
        overflow: what becomes of an example longer than a row: an error (`"raise"`); pieces of at most `max_len` tokens
            (`"split"`); or its first `max_len` tokens (`"truncate"`). Pieces of bare tokens overlap by one, so that
            every token of an example but its first is predicted exactly once; pieces of an `Example` do not overlap,
            since its targets are aligned with its tokens.
        buffer: how many rows' tokens `"best_fit"` and `"first_fit"` hold at once: `buffer * max_len` tokens, and the
            example that is being read. A bare token takes 8 bytes, a token of an `Example` 21.

    Returns:
        An iterator of `PackedRow`, with `.waste` for what was packed so far. Equal input gives equal rows. Bare
        examples of fewer than two tokens, and empty `Example`s, have nothing to predict: they are dropped and counted.

    Raises:
        ArgumentError: at the call, for anything but `examples`; at iteration, for an example of another type, of
            another kind than the first one, or too long for a row.

    >>> rows = pack([[1, 2, 3, 4, 5, 6], [7, 8]], max_len=4, overflow="split")
    >>> [(row.tokens.tolist(), row.lengths) for row in rows]
    [([1, 2, 3, 4], (4,)), ([4, 5, 6, 0], (3, 1)), ([7, 8, 0, 0], (2, 2))]
    >>> print(rows.waste)
    3 rows, 9 of 12 slots used (75.00 %); 2 examples, 0 dropped, 0 tokens truncated
    """
    return PackedRows(Packing(max_len, strategy, overflow, buffer), examples)


@dataclass(frozen=True)
class Waste:
    """Counts of the slots that packing has used and of the tokens that it has lost.

    Attributes:
        rows: rows yielded.
        slots: positions in those rows.
        used: slots that hold tokens, padding not counted.
        examples: examples read.
        dropped: examples with nothing to predict, which are in no row.
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
        """The share of the slots that are used, from 0 to 1; 1 where there are no slots."""
        return self.used / self.slots if self.slots else 1.0

    def __str__(self) -> str:
        return (
            f"{self.rows} rows, {self.used} of {self.slots} slots used ({self.share:.2%}); "
            f"{self.examples} examples, {self.dropped} dropped, {self.truncated} tokens truncated"
        ).replace("%", " %")


class PackedRows(Iterator[PackedRow]):
    """The rows that `pack` makes, one at a time, and their waste."""

    def __init__(self, packing: Packing, examples: Iterable[Sequence[int] | np.ndarray | Example]) -> None:
        self._pieces = Pieces(packing, examples)
        self._rows = drained(packing.groups(self._pieces))
        self._max_len = packing.max_len
        self._rows_yielded = self._slots_used = 0

    def __next__(self) -> PackedRow:
        row = row_of(next(self._rows), self._max_len)
        self._rows_yielded += 1
        self._slots_used += self._max_len - row.padding
        return row

    @property
    def waste(self) -> Waste:
        """The waste of the rows yielded and the examples read so far, those in the buffer included."""
        return Waste(
            rows=self._rows_yielded,
            slots=self._rows_yielded * self._max_len,
            used=self._slots_used,
            examples=self._pieces.examples,
            dropped=self._pieces.dropped,
            truncated=self._pieces.truncated,
        )


@dataclass(frozen=True)
class Packing:
    """The arguments of `pack`, checked."""

    max_len: int
    strategy: Strategy
    overflow: Overflow
    buffer: int

    def __post_init__(self) -> None:
        # Two: a token to read and a token to predict.
        object.__setattr__(self, "max_len", at_least(self.max_len, 2, "max_len"))
        object.__setattr__(self, "buffer", at_least(self.buffer, 1, "buffer"))
        for name, value, kind in (
            ("a packing strategy", self.strategy, Strategy),
            ("overflow", self.overflow, Overflow),
        ):
            if value not in get_args(kind):
                choices = ", ".join(map(repr, get_args(kind)))
                raise ArgumentError(f"{name} must be one of {choices}, got {value!r}")

    def groups(self, pieces: Iterable[Piece]) -> Iterator[list[list[Piece]]]:
        """Yield the rows as lists of pieces, in groups that were decided together."""
        if self.strategy == "best_fit":
            return best_fit(pieces, self.max_len, self.buffer)
        if self.strategy == "first_fit":
            return first_fit(pieces, self.max_len, self.buffer)
        return sequential(pieces, self.max_len) if self.strategy == "sequential" else alone(pieces)


class Pieces:
    """The examples, checked and cut to at most `max_len` tokens, and their counts; can be read once."""

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
                first, second = kinds if scored else reversed(kinds)
                raise ArgumentError(
                    f"examples must be of one kind, got {second} as example {index} after {first}; "
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
        """Yield the pieces of an example that is longer than a row, or raise, as `overflow` says."""
        max_len, overflow = self._packing.max_len, self._packing.overflow
        if overflow == "raise":
            raise ArgumentError(
                f"an example must fit into a row of {max_len} tokens, got {len(example)} in example {index}; "
                'pass overflow="split" or "truncate", or a larger max_len'
            )
        if overflow == "truncate":
            self.truncated += len(example) - max_len
            yield _slice(example, 0, max_len)
            return
        # Bare tokens overlap by one, so that the first token of a piece is predicted too, at the end of the one before:
        #
        #     1 2 3 4 5 6    max_len 4    ->    [1 2 3 4] [4 5 6]
        overlap = 0 if isinstance(example, Example) else 1
        for start in range(0, len(example) - overlap, max_len - overlap):
            yield _slice(example, start, min(start + max_len, len(example)))


def drained(groups: Iterable[list[list[Piece]]]) -> Iterator[list[Piece]]:
    """Yield the rows of all groups; each is freed once it is taken: the next buffer fills as the last one empties."""
    for group in groups:
        group.reverse()
        while group:
            yield group.pop()


def row_of(pieces: Sequence[Piece], max_len: int) -> PackedRow:
    """Return the pieces as one finished row."""
    examples = [piece for piece in pieces if isinstance(piece, Example)]
    if examples:
        return PackedRow.of(examples, max_len)
    bare = [piece for piece in pieces if not isinstance(piece, Example)]
    tokens = np.zeros(max_len, dtype=np.int64)
    lengths = [len(piece) for piece in bare]
    used = sum(lengths)
    np.concatenate(bare, out=tokens[:used])
    padding = max_len - used
    return PackedRow(tokens, tuple(lengths + [padding] * (padding > 0)), padding)


def _slice(example: Piece, start: int, stop: int) -> Piece:
    """Return a copy: a view would hold the whole of a long example while one piece of it waits in the buffer."""
    return example.piece(start, stop) if isinstance(example, Example) else example[start:stop].copy()


def best_fit(pieces: Iterable[Item], max_len: int, buffer: int) -> Iterator[list[list[Item]]]:
    """Yield the rows of best-fit decreasing over the pieces that fill at most `buffer` rows, then the next ones."""
    waiting: list[Item] = []
    tokens = 0
    for piece in pieces:
        if tokens + len(piece) > buffer * max_len:
            rows = _decreasing(waiting, max_len)
            waiting, tokens = [], 0  # before the rows are yielded, so that the caller can free each of them
            yield rows
        waiting.append(piece)
        tokens += len(piece)
    if waiting:
        yield _decreasing(waiting, max_len)


def _decreasing(pieces: list[Item], max_len: int) -> list[list[Item]]:
    """Lay the pieces into rows, the longest first, each into the fullest row that has room for it."""
    rows: list[list[Item]] = []
    # `by_room` holds the open rows by the room that they have left, oldest first; `rooms` is the sorted list of the
    # rooms that occur. There are at most max_len rooms, so finding the tightest fit costs a bisection, however many
    # rows are open:
    #
    #     rooms    2       5            a piece of 3 goes into the oldest row with room 5, which then has room 2
    #     by_room  {2: [A, D], 5: [B]}
    by_room: defaultdict[int, deque[list[Item]]] = defaultdict(deque)
    rooms: list[int] = []
    for piece in sorted(pieces, key=len, reverse=True):  # stable: equal lengths keep their order
        tightest = bisect_left(rooms, len(piece))
        if tightest == len(rooms):
            room = max_len
            rows.append(row := [])
        else:
            room = rooms[tightest]
            row = by_room[room].popleft()
            if not by_room[room]:
                del rooms[tightest]
        row.append(piece)
        left = room - len(piece)
        if left:
            if not by_room[left]:
                insort(rooms, left)
            by_room[left].append(row)
    return rows


def first_fit(pieces: Iterable[Item], max_len: int, buffer: int) -> Iterator[list[list[Item]]]:
    """Yield the rows of first-fit: each piece goes into the oldest of at most `buffer` open rows that has room.

    Where no row has room, a new one opens, and the oldest is closed when `buffer` rows are open.
    """
    rows: list[list[Item]] = []
    room = np.empty(buffer, dtype=np.int64)  # tokens that fit into each open row, oldest row first
    for piece in pieces:
        fits = room[: len(rows)] >= len(piece)
        index = int(fits.argmax()) if len(rows) else 0  # the first True
        if not len(rows) or not fits[index]:
            if len(rows) == buffer:
                yield [_close(rows, room, 0)]
            index = len(rows)
            rows.append([])
            room[index] = max_len
        rows[index].append(piece)
        room[index] -= len(piece)
        if not room[index]:
            yield [_close(rows, room, index)]
    for row in rows:
        yield [row]


def _close(rows: list[list[Item]], room: np.ndarray, index: int) -> list[Item]:
    """Remove an open row, in `rows` and in `room`, and return it."""
    room[index : len(rows) - 1] = room[index + 1 : len(rows)]
    return rows.pop(index)


def sequential(pieces: Iterable[Item], max_len: int) -> Iterator[list[list[Item]]]:
    """Yield the rows of next-fit: a piece that does not fit into the one open row closes that row."""
    row: list[Item] = []
    room = max_len
    for piece in pieces:
        if len(piece) > room:
            yield [row]
            row, room = [], max_len
        row.append(piece)
        room -= len(piece)
        if not room:  # do not wait for a next piece that a live stream may bring late
            yield [row]
            row, room = [], max_len
    if row:
        yield [row]


def alone(pieces: Iterable[Item]) -> Iterator[list[list[Item]]]:
    """Yield each piece as a row of its own."""
    for piece in pieces:
        yield [[piece]]
