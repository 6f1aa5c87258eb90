"""Which pieces share a row: decided by their lengths alone, deterministically, in bounded memory.

Each strategy takes a stream of pieces (anything with a length of 1 to `max_len`) and yields groups of finished rows,
each row a list of pieces; the rows of a group were decided together. Who takes a group may empty it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

import numpy as np

Piece = TypeVar("Piece", bound=Sized)


def best_fit(pieces: Iterable[Piece], max_len: int, buffer: int) -> Iterator[list[list[Piece]]]:
    """Best-fit decreasing over as many pieces as fill at most `buffer` rows, then over the next ones."""
    held: list[Piece] = []
    tokens = 0
    for piece in pieces:
        if tokens + len(piece) > buffer * max_len:
            rows = _decreasing(held, max_len)
            held, tokens = [], 0  # before the rows are taken, so that each can be let go of then
            yield rows
        held.append(piece)
        tokens += len(piece)
    if held:
        yield _decreasing(held, max_len)


def _decreasing(pieces: list[Piece], max_len: int) -> list[list[Piece]]:
    rows: list[list[Piece]] = []
    # Rows are kept by the room they have left, oldest first; `rooms` is the sorted list of rooms that
    # occur. There are at most max_len of those, so finding the tightest fit costs a bisection, however many
    # rows are open.
    by_room: defaultdict[int, deque[list[Piece]]] = defaultdict(deque)
    rooms: list[int] = []
    for piece in sorted(pieces, key=len, reverse=True):  # stable: equal lengths keep their order
        at = bisect_left(rooms, len(piece))
        if at == len(rooms):
            room = max_len
            rows.append(row := [])
        else:
            room = rooms[at]
            row = by_room[room].popleft()
            if not by_room[room]:
                del rooms[at]
        row.append(piece)
        left = room - len(piece)
        if left:
            if not by_room[left]:
                insort(rooms, left)
            by_room[left].append(row)
    return rows


def first_fit(pieces: Iterable[Piece], max_len: int, buffer: int) -> Iterator[list[list[Piece]]]:
    """Each piece into the oldest of at most `buffer` open rows that has room; where none has, a new row opens."""
    rows: list[list[Piece]] = []
    room = np.empty(buffer, dtype=np.int64)  # of the open rows, oldest first
    for piece in pieces:
        fits = room[: len(rows)] >= len(piece)
        at = int(fits.argmax()) if len(rows) else 0
        if not len(rows) or not fits[at]:
            if len(rows) == buffer:
                yield [_close(rows, room, 0)]
            at = len(rows)
            rows.append([])
            room[at] = max_len
        rows[at].append(piece)
        room[at] -= len(piece)
        if not room[at]:
            yield [_close(rows, room, at)]
    for row in rows:
        yield [row]


def _close(rows: list[list[Piece]], room: np.ndarray, at: int) -> list[Piece]:
    room[at : len(rows) - 1] = room[at + 1 : len(rows)]
    return rows.pop(at)


def sequential(pieces: Iterable[Piece], max_len: int) -> Iterator[list[list[Piece]]]:
    """Next-fit: a piece that does not fit into the one open row closes it."""
    row: list[Piece] = []
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


def alone(pieces: Iterable[Piece]) -> Iterator[list[list[Piece]]]:
    """Each piece in a row of its own."""
    for piece in pieces:
        yield [[piece]]
