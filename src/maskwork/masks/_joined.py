"""`&`, `|`, `^` and `~`: masks made of masks, in canonical form. Part of the circle of `_mask.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from .. import spans as sp
from ..spans import Spans
from ._mask import Mask, Queries, common_batch, common_heads
from ._questions.explain import Cell, Explanation, Row, explain_joined, explanation
from ._text.spec import LEVELS, TIGHTEST, Spec


class Constant(Mask):
    """The masks `full` (every cell) and `empty` (no cell)."""

    depends_on_query = False
    relative = True

    def __init__(self, value: bool) -> None:
        self.value = value

    def _spec(self) -> Spec:
        return Spec("full" if self.value else "empty")

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        shape = (1, 1, 1, 1)
        start = np.full(shape, 0 if self.value else kv_len, dtype=np.int32)
        return Spans(start, np.full(shape, kv_len, dtype=np.int32), kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        return "it allows every cell" if self.value else "it allows no cell"

    def __invert__(self) -> Mask:
        return Constant(not self.value)


class Not(Mask):
    """The complement of one operand."""

    _level = LEVELS["~"]

    def __init__(self, operand: Mask) -> None:
        self._set_operands((operand,))
        self.operand = operand
        self.depends_on_query = operand.depends_on_query
        self.relative, self.many_runs = operand.relative, operand.many_runs

    def _spec(self) -> Spec:
        return Spec("~", (self.operand,))

    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        return sp.difference(extent, within(self.operand, queries, kv_len, extent))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return sp.complement(self.operand._spans(queries, kv_len))

    def _explain(self, cell: Cell) -> Explanation:
        part = self.operand._explain(cell)
        word = "allowed" if part.allowed else "blocked"
        return explanation(self, cell, not part.allowed, f"the operand of ~ is {word}", [part])

    def __invert__(self) -> Mask:
        return self.operand


class _Nary(Mask):
    """The base of `&`, `|` and `^`, associative and commutative. Only `combine` and `exclusive` build it."""

    sign: str
    #: What the operator does to the spans of two operands.
    join: Callable[[Spans, Spans], Spans]
    #: The value of one operand that decides the cell alone; None where every operand counts.
    decisive: bool | None = None

    def __init__(self, operands: tuple[Mask, ...]) -> None:
        self._set_operands(operands)
        self.depends_on_query = any(operand.depends_on_query for operand in operands)
        self.relative = all(operand.relative for operand in operands)
        self.many_runs = any(operand.many_runs for operand in operands)

    def _spec(self) -> Spec:
        return Spec(self.sign, self.operands)

    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        return reduce(self.join, (within(operand, queries, kv_len, extent) for operand in self.operands))

    def _explain(self, cell: Cell) -> Explanation:
        return explain_joined(self, cell, [operand._explain(cell) for operand in self.operands], self.decisive)

    def _parts(self, queries: Queries, kv_len: int) -> list[Spans]:
        """Return the operands' spans, those with the fewest runs first, so that joining them starts on small planes."""
        return sorted((operand._spans(queries, kv_len) for operand in self.operands), key=lambda spans: spans.runs)


class And(_Nary):
    """The intersection: a cell that all operands allow."""

    sign, _level, decisive = "&", LEVELS["&"], False
    #: The constant that changes nothing; the other constant decides every cell.
    neutral = True

    join = staticmethod(sp.intersection)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # Rows of many runs are asked for last, inside of what the others allow; a mask that ignores the query has
        # one row, which costs little. Among masks of few runs, those of the fewest first: the planes stay small.
        few = [mask for mask in self.operands if not mask.many_runs or not mask.depends_on_query]
        parts = sorted((mask._spans(queries, kv_len) for mask in few), key=lambda spans: spans.runs)
        allowed = reduce(sp.intersection, parts) if parts else None
        for mask in self.operands:
            if mask not in few:
                inside = None if allowed is None else mask._spans_within(queries, kv_len, _extent_of(allowed))
                inside = mask._spans(queries, kv_len) if inside is None else inside
                allowed = inside if allowed is None else sp.intersection(allowed, inside)
        assert allowed is not None, "& has operands"
        return allowed


class Xor(_Nary):
    """The exclusive or: a cell that an odd number of operands allows.

    No operand is a complement: `~a ^ b` is `~(a ^ b)`.
    """

    sign, _level = "^", LEVELS["^"]

    join = staticmethod(sp.xor)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return reduce(sp.xor, self._parts(queries, kv_len))


class Or(_Nary):
    """The union: a cell that any operand allows."""

    sign, _level, decisive = "|", LEVELS["|"], True
    neutral = False

    join = staticmethod(sp.union)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return reduce(sp.union, self._parts(queries, kv_len))


def within(mask: Mask, queries: Queries, kv_len: int, extent: Spans) -> Spans:
    """Return the spans of a mask inside of `extent`, computed there alone where that is cheaper."""
    if mask.many_runs and mask.depends_on_query:
        return mask._spans_within(queries, kv_len, extent)
    return sp.intersection(extent, mask._spans(queries, kv_len))


def _extent_of(spans: Spans) -> Spans:
    """Return one run for each row, from its first key to its last."""
    last = np.where(spans.planes_starts < spans.kv_len, spans.planes_ends, 0).max(axis=0)
    return sp.single(spans.planes_starts[0], last, spans.kv_len)


def combine(kind: type[And] | type[Or], masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of `masks` joined by `&` or `|`: flat, sorted, no term twice, constants folded."""
    terms: dict[Any, Mask] = {}
    for mask in masks:
        for term in mask.operands if isinstance(mask, kind) else (mask,):
            if not isinstance(term, Constant):
                terms.setdefault(term._key, term)
            elif term.value != kind.neutral:
                return term
    _check_batch_and_heads(terms.values())
    # a & ~a allows nothing, a | ~a everything.
    if any(isinstance(term, Not) and term.operand._key in terms for term in terms.values()):
        return Constant(not kind.neutral)
    if not terms:
        return Constant(kind.neutral)
    return next(iter(terms.values())) if len(terms) == 1 else kind(_in_order(terms.values()))


def exclusive(masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of `masks` joined by `^`: flat, without complements, constants or pairs."""
    terms: dict[Any, Mask] = {}
    # ~a is a ^ full: complements and constants are counted in `flip` and put back as one `~`.
    flip = False
    pending = list(masks)
    _check_batch_and_heads(pending)
    while pending:
        mask = pending.pop()
        if isinstance(mask, Constant):
            flip ^= mask.value
        elif isinstance(mask, Not):
            flip = not flip
            pending.append(mask.operand)
        elif isinstance(mask, Xor):
            pending.extend(mask.operands)
        elif terms.pop(mask._key, None) is None:  # a term that comes twice cancels itself
            terms[mask._key] = mask
    if not terms:
        return Constant(flip)
    joined = next(iter(terms.values())) if len(terms) == 1 else Xor(_in_order(terms.values()))
    return ~joined if flip else joined


def _in_order(terms: Iterable[Mask]) -> tuple[Mask, ...]:
    """Sort terms, atoms before composites, then by text: an order that does not depend on how the mask was written."""
    ordered = sorted(terms, key=lambda term: (term._level < TIGHTEST, term._short_text))
    # Two arrays may have the same digest. Their texts are then equal, and all their numbers decide.
    if any(a._short_text == b._short_text for a, b in pairwise(ordered)):
        ordered.sort(key=lambda term: (term._level < TIGHTEST, term._short_text, repr(term._key)))
    return tuple(ordered)


def _check_batch_and_heads(masks: Iterable[Mask]) -> None:
    """Raise if two masks have different batch sizes or head counts."""
    masks = tuple(masks)
    common_batch(*(mask.batch for mask in masks))
    common_heads(*(mask.heads for mask in masks))
