"""`Mask`: the base of every expression, its operators and its canonical form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from .. import spans as sp
from ..errors import MaskError
from ..spans import Spans
from ._explanation import (
    Cell,
    Explanation,
    Row,
    explain_atom,
    explain_joined,
    explanation,
    reason_of_row,
)

if TYPE_CHECKING:
    from ._bound import BoundMask

#: Absolute query positions, int64, broadcastable to (B, H, Q).
Queries = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Extent:
    """How far a grid reaches, which array parameters must cover."""

    queries: int  #: one past the last query position
    keys: int
    whole: bool  #: the grid is the whole sequence, so that an array must also end where it ends


class Mask(ABC):
    """An immutable expression that says which key each query may see, free of any length.

    Combine masks with `&`, `|`, `~` and `-`. Two masks are `==`, and hash alike, when their canonical form is the
    same: nested `&` and `|` are flattened, repeated terms dropped, `full` and `empty` folded away and operands sorted.

    >>> import maskwork as mw
    >>> mw.sinks(4) & mw.causal() == mw.causal() & mw.sinks(4)
    True
    >>> mw.causal() - mw.sinks(1)
    causal & ~sinks(1)
    >>> print((mw.causal() & mw.sliding_window(2)).bind(3).dense().astype(int)[0, 0])
    [[1 0 0]
     [1 1 0]
     [0 1 1]]
    """

    #: Whether a row depends on the query's position: then a grid must say where the queries stand.
    depends_on_query: bool = True
    #: How tightly the text form binds; an operand of a tighter operator is put in brackets.
    _level: int = 9

    @abstractmethod
    def _identity(self) -> tuple[Any, ...]:
        """What makes this mask itself: hashable, and equal for equal masks."""

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        """`_identity`, made once: arrays are copied into it."""
        return self._identity()

    @abstractmethod
    def _text(self) -> str:
        """The text form, which `mw.parse` reads back when no array was shortened."""

    @abstractmethod
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        """The exact geometry of the rows at these absolute positions (all >= 0), against keys `[0, kv_len)`."""

    def _check(self, extent: Extent) -> None:  # noqa: B027  (most atoms have nothing to check)
        """Raise `GridError` when an array parameter does not cover the grid."""

    def _explain(self, cell: Cell) -> Explanation:
        """Why `cell` is allowed or blocked; a mask with parts asks them."""
        return explain_atom(self, cell)

    def _reason(self, cell: Cell, row: Row) -> str:
        """One line of words and numbers: why this atom says what it says of `cell`, whose query sees `row`."""
        return reason_of_row(cell, row)

    @property
    def batch(self) -> int:
        """Batch rows that the parameters speak of, 1 when they are the same for all."""
        return 1

    def bind(
        self,
        q_len: int,
        kv_len: int | None = None,
        *,
        q_start: int | None = None,
        batch: int | None = None,
        heads: int | None = None,
    ) -> BoundMask:
        """This mask on a grid: queries `[q_start, q_start + q_len)` against keys `[0, kv_len)`.

        Args:
            q_len: number of queries.
            kv_len: number of keys; `q_start + q_len` when left out.
            q_start: absolute position of the first query. It may be left out when `q_len == kv_len` (then 0) or when
                the mask does not depend on the query; otherwise leaving it out raises `GridError`.
            batch: batch rows; inferred from the mask's parameters, and checked against them.
            heads: query heads.

        >>> import maskwork as mw
        >>> mw.causal().bind(1, 5, q_start=4).allowed     # one decoding step against five cached keys
        5
        """
        from ._bound import BoundMask
        from ._grid import Grid

        return BoundMask(self, Grid.of(self, q_len, kv_len, q_start=q_start, batch=batch, heads=heads))

    def __and__(self, other: Mask) -> Mask:
        return combine(And, (self, other)) if isinstance(other, Mask) else NotImplemented  # pyright: ignore

    def __or__(self, other: Mask) -> Mask:
        return combine(Or, (self, other)) if isinstance(other, Mask) else NotImplemented  # pyright: ignore

    def __sub__(self, other: Mask) -> Mask:
        return self & ~other if isinstance(other, Mask) else NotImplemented  # pyright: ignore

    def __invert__(self) -> Mask:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise MaskError(
            "a mask has no truth value: `a and b` would silently drop a term; combine masks with & | ~ -, "
            "or ask a bound mask: mask.bind(n).subset_of(other)"
        )

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Mask) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self._text()


class Constant(Mask):
    """`full` or `empty`: every cell, or none."""

    depends_on_query = False

    def __init__(self, value: bool) -> None:
        self.value = value

    def _identity(self) -> tuple[Any, ...]:
        return ("full" if self.value else "empty",)

    def _text(self) -> str:
        return "full" if self.value else "empty"

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

    _level = 3

    def __init__(self, operand: Mask) -> None:
        self.operand = operand
        self.depends_on_query = operand.depends_on_query

    def _identity(self) -> tuple[Any, ...]:
        return ("~", self.operand._key)

    @property
    def batch(self) -> int:
        return self.operand.batch

    def _check(self, extent: Extent) -> None:
        self.operand._check(extent)

    def _text(self) -> str:
        return "~" + bracketed(self.operand, self._level)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return sp.complement(self.operand._spans(queries, kv_len))

    def _explain(self, cell: Cell) -> Explanation:
        part = self.operand._explain(cell)
        word = "allowed" if part.allowed else "blocked"
        return explanation(self, cell, not part.allowed, f"what it negates is {word}", [part])

    def __invert__(self) -> Mask:
        return self.operand


class _Nary(Mask):
    """An associative, commutative, idempotent operator: what `&` and `|` share. Built by `combine` only."""

    sign: str
    #: The operand that changes nothing; its complement decides everything.
    neutral: bool

    def __init__(self, operands: tuple[Mask, ...]) -> None:
        self.operands = operands
        self.depends_on_query = any(operand.depends_on_query for operand in operands)

    def _identity(self) -> tuple[Any, ...]:
        return (self.sign, *(operand._key for operand in self.operands))

    @property
    def batch(self) -> int:
        return common_batch(*(operand.batch for operand in self.operands))

    def _check(self, extent: Extent) -> None:
        for operand in self.operands:
            operand._check(extent)

    def _text(self) -> str:
        return f" {self.sign} ".join(bracketed(operand, self._level) for operand in self.operands)

    def _explain(self, cell: Cell) -> Explanation:
        parts = [operand._explain(cell) for operand in self.operands]
        return explain_joined(self, cell, parts, decisive=not self.neutral)


class And(_Nary):
    """What all operands allow."""

    sign, neutral, _level = "&", True, 2

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # Fewest runs first: clipping to one run is cheap, and it keeps the operands that follow small.
        parts = sorted((operand._spans(queries, kv_len) for operand in self.operands), key=lambda s: s.runs)
        return reduce(sp.intersection, parts)


class Or(_Nary):
    """What any operand allows."""

    sign, neutral, _level = "|", False, 1

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        parts = sorted((operand._spans(queries, kv_len) for operand in self.operands), key=lambda s: s.runs)
        return reduce(sp.union, parts)


def combine(kind: type[And] | type[Or], masks: Iterable[Mask]) -> Mask:
    """The canonical form of `masks` joined by one operator."""
    terms: dict[Any, Mask] = {}
    for mask in masks:
        for term in mask.operands if isinstance(mask, kind) else (mask,):
            if not isinstance(term, Constant):
                terms.setdefault(term._key, term)
            elif term.value != kind.neutral:
                return term
    common_batch(*(term.batch for term in terms.values()))
    if any((~term)._key in terms for term in terms.values()):
        return Constant(not kind.neutral)  # a & ~a allows nothing, a | ~a everything
    if not terms:
        return Constant(kind.neutral)
    if len(terms) == 1:
        return next(iter(terms.values()))
    # Single words before compounds, then by text: an order that does not depend on how the mask was written.
    return kind(tuple(sorted(terms.values(), key=lambda term: (term._level < 9, term._text(), repr(term._key)))))


def bracketed(mask: Mask, level: int) -> str:
    """The text of an operand under an operator that binds at `level`."""
    return f"({mask._text()})" if mask._level < level else mask._text()


def common_batch(*batches: int) -> int:
    """The one batch size other than 1, or 1."""
    sizes = sorted({batch for batch in batches if batch != 1})
    if len(sizes) > 1:
        raise MaskError(f"masks must speak of the same batch, found {sizes[0]} and {sizes[1]} rows; pass equal batches")
    return sizes[0] if sizes else 1
