"""`Explanation`: why a query may see a key, or the fewest terms that keep it from seeing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._drawing.picture import cut

if TYPE_CHECKING:
    from .._mask import Mask

#: The keys that one query sees, as (start, end) pairs.
Row = list[tuple[int, int]]

_MOST_TEXT = 60  # characters of a term's text in one line


@dataclass(frozen=True)
class Cell:
    """One (query, key) pair of one batch row and head, in the positions of the term that explains the pair.

    Attributes:
        query: the query's position; inside `within` it restarts at 0 in each document.
        key: the key's position, counted likewise.
        batch: batch row.
        head: head.
        kv_len: number of keys of the term's grid.
    """

    query: int
    key: int
    batch: int
    head: int
    kv_len: int

    def row(self, mask: Mask) -> Row:
        """Return the keys that `mask` allows this query: one row of geometry, whatever the size of the grid."""
        # An axis of size 1 stands for every batch row or head.
        spans = mask._spans(np.full((1, 1, 1), self.query, dtype=np.int64), self.kv_len)
        batch, heads, _ = spans.shape
        return spans.row(0, self.batch if batch > 1 else 0, self.head if heads > 1 else 0)

    def move(self, query: int, key: int, kv_len: int) -> Cell:
        """Return the same pair in other positions, as `within` restarts them."""
        return Cell(query, key, self.batch, self.head, kv_len)

    def distance(self) -> str:
        """Return the distance of the key from the query in words, for masks that depend on the distance."""
        steps = self.query - self.key
        if steps == 0:
            return f"key {self.key} is query {self.query} itself"
        return f"key {self.key} is {abs(steps)} {'behind' if steps > 0 else 'ahead of'} query {self.query}"


@dataclass(frozen=True)
class Explanation:
    """A term of a mask, whether the term allows the cell, and the fewest terms below that decide this.

    The occurrences in `.terms` decide the cell: whatever the other terms of the expression say, the cell stays allowed
    or blocked. No smaller set of occurrences does; among sets of equal size, the first in the mask's canonical order
    is returned.

    Attributes:
        mask: the term.
        allowed: whether the term allows the cell.
        query: the query's position as this term counts it: inside `within` it restarts at 0 in each document.
        key: the key's position, counted likewise.
        batch: batch row.
        head: head.
        reason: one line of words and numbers.
        children: the operands that decide the term; an atom has none.

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
    query: int
    key: int
    batch: int
    head: int
    reason: str
    children: tuple[Explanation, ...] = ()

    @property
    def terms(self) -> tuple[Explanation, ...]:
        """The occurrences of atoms that decide the cell, from left to right."""
        return tuple(term for child in self.children for term in child.terms) if self.children else (self,)

    def __str__(self) -> str:
        """Return a line for the cell and a line for each term below it."""
        plane = f", batch {self.batch}, head {self.head}" if self.batch or self.head else ""
        verdict = "allowed" if self.allowed else "blocked"
        return "\n".join([f"{verdict}: query {self.query}, key {self.key}{plane}", *self._lines("")])

    def _lines(self, indent: str) -> list[str]:
        text = cut(repr(self.mask), _MOST_TEXT)
        mark = "✓" if self.allowed else "✗"
        below = [line for child in self.children for line in child._lines(indent + "  ")]
        return [f"{indent}{mark} {text}: {self.reason}", *below]


def explanation(
    mask: Mask, cell: Cell, allowed: bool, reason: str, children: Sequence[Explanation] = ()
) -> Explanation:
    """Build the explanation of one term at `cell`."""
    return Explanation(mask, allowed, cell.query, cell.key, cell.batch, cell.head, reason, tuple(children))


def explain_atom(mask: Mask, cell: Cell) -> Explanation:
    """Explain a term without operands: the row of the query decides."""
    row = cell.row(mask)
    allowed = any(start <= cell.key < end for start, end in row)
    # A query before position 0 may have no entry in the arrays that a reason reads.
    reason = f"query {cell.query} is before position 0 and sees no key" if cell.query < 0 and not row else None
    return explanation(mask, cell, allowed, reason or mask._reason(cell, row))


def explain_joined(mask: Mask, cell: Cell, parts: Sequence[Explanation], decisive: bool | None) -> Explanation:
    """Explain a term of several operands, `parts`.

    One operand whose answer is `decisive` decides the term: False for `&`, True for `|`. Of these operands, the
    operand with the fewest terms is returned; without any, all operands count. `^` has no decisive answer: None.
    """
    if decisive is None:
        # `^` allows the cell when an odd number of operands does: each operand counts.
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
    """Return the reason that fits any atom: the keys that the query sees, of many runs the three nearest to the key."""

    # keys between the run and the cell's key, 0 inside the run
    def gap(run: tuple[int, int]) -> int:
        return max(run[0] - cell.key, cell.key - run[1] + 1, 0)

    if not row:
        return f"query {cell.query} sees no key"
    nearest = sorted(sorted(row, key=gap)[:3])
    runs = ", ".join(f"[{start}, {end})" for start, end in nearest) + (", …" if len(row) > 3 else "")
    inside = "with" if gap(min(row, key=gap)) == 0 else "without"
    return f"query {cell.query} sees keys {runs} {inside} key {cell.key}"
