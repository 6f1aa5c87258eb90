"""`Explanation`: why a query may see a key, or the fewest terms that keep it from seeing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .._mask import Mask

#: The keys that one query sees, as (start, end) pairs.
Row = list[tuple[int, int]]

_MOST_TEXT = 60  # characters of a term's text in one line


@dataclass(frozen=True)
class Cell:
    """One (query, key) pair that a term is asked about, in that term's own positions."""

    query: int
    key: int
    batch: int
    head: int
    kv_len: int

    def row(self, mask: Mask) -> Row:
        """The keys that `mask` allows this query: one row of geometry, whatever the size of the grid."""
        spans = mask._spans(np.full((1, 1, 1), self.query, dtype=np.int64), self.kv_len)
        batch, heads, _ = spans.shape
        return spans.row(0, self.batch if batch > 1 else 0, self.head if heads > 1 else 0)

    def move(self, query: int, key: int, kv_len: int) -> Cell:
        """The same pair in other positions, as `within` restarts them."""
        return Cell(query, key, self.batch, self.head, kv_len)

    def distance(self) -> str:
        """Where the key stands from the query, in words: what windows and triangles are about."""
        steps = self.query - self.key
        if steps == 0:
            return f"key {self.key} is query {self.query} itself"
        return f"key {self.key} is {abs(steps)} {'behind' if steps > 0 else 'ahead of'} query {self.query}"


@dataclass(frozen=True)
class Explanation:
    """A term, whether it allows the cell, and the fewest terms below it that settle that.

    Fixing `.terms` alone settles the cell: whatever the other terms of the expression said, it would stay allowed or
    blocked. No smaller set of term occurrences does; among equals, the first in the mask's canonical order is given.

    >>> import maskwork as mw
    >>> why = (mw.causal() & (mw.sliding_window(8) | mw.sinks(2))).bind(16).explain(12, 3)
    >>> why.allowed, [term.mask for term in why.terms]
    (False, [sinks(2), sliding_window(8)])
    >>> print(why)
    blocked: query 12, key 3
    ✗ causal & (sinks(2) | sliding_window(8)): one blocked operand is enough
      ✗ sinks(2) | sliding_window(8): every operand is blocked
        ✗ sinks(2): key 3 is not among the first 2 keys
        ✗ sliding_window(8): key 3 is 9 behind query 12, window sees 8
    """

    mask: Mask
    allowed: bool
    #: Positions as this term counts them: inside `within` they restart at 0 in each document.
    query: int
    key: int
    batch: int
    head: int
    reason: str
    children: tuple[Explanation, ...] = ()

    @cached_property
    def terms(self) -> tuple[Explanation, ...]:
        """The occurrences of atoms that settle the cell, from left to right."""
        return tuple(term for child in self.children for term in child.terms) if self.children else (self,)

    def __str__(self) -> str:
        """One line a term under a line that says what was asked."""
        plane = f", batch {self.batch}, head {self.head}" if self.batch or self.head else ""
        verdict = "allowed" if self.allowed else "blocked"
        return "\n".join([f"{verdict}: query {self.query}, key {self.key}{plane}", *self._lines("")])

    def _lines(self, indent: str) -> list[str]:
        text = repr(self.mask)
        text = text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
        mark = "✓" if self.allowed else "✗"
        below = [line for child in self.children for line in child._lines(indent + "  ")]
        return [f"{indent}{mark} {text}: {self.reason}", *below]


def explanation(
    mask: Mask, cell: Cell, allowed: bool, reason: str, children: Sequence[Explanation] = ()
) -> Explanation:
    """The explanation of one term at `cell`."""
    return Explanation(mask, allowed, cell.query, cell.key, cell.batch, cell.head, reason, tuple(children))


def explain_atom(mask: Mask, cell: Cell) -> Explanation:
    """A term without parts: it is its own explanation."""
    row = cell.row(mask)
    allowed = any(start <= cell.key < end for start, end in row)
    return explanation(mask, cell, allowed, mask._reason(cell, row))


def explain_joined(mask: Mask, cell: Cell, parts: Sequence[Explanation], decisive: bool | None) -> Explanation:
    """One operand that says `decisive` settles it: the smallest such is given, or else all, since all count.

    For `&` that is False, for `|` True; `^` has none.
    """
    if decisive is None:
        odd = sum(part.allowed for part in parts)
        return explanation(mask, cell, odd % 2 == 1, f"{odd} of {len(parts)} operands are allowed", parts)
    deciding = [part for part in parts if part.allowed == decisive]
    if deciding:
        fewest = min(deciding, key=lambda part: len(part.terms))
        return explanation(mask, cell, decisive, f"one {_word(decisive)} operand is enough", [fewest])
    return explanation(mask, cell, not decisive, f"every operand is {_word(not decisive)}", parts)


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "blocked"


def reason_of_row(cell: Cell, row: Row) -> str:
    """What can be said of any atom: the keys that the query does see, nearest first where they are many."""

    def gap(run: tuple[int, int]) -> int:
        return max(run[0] - cell.key, cell.key - run[1] + 1, 0)

    if not row:
        return f"query {cell.query} sees no key"
    nearest = sorted(sorted(row, key=gap)[:3])
    runs = ", ".join(f"[{start}, {end})" for start, end in nearest) + (", …" if len(row) > 3 else "")
    inside = "with" if gap(min(row, key=gap)) == 0 else "without"
    return f"query {cell.query} sees keys {runs} {inside} key {cell.key}"
