"""`Mask`: the base of every expression, its operators and its canonical form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property, reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from .. import spans as sp
from ..errors import MaskError
from ..spans import Spans
from ._extent import Extent
from ._questions.explain import Cell, Explanation, Row, explain_atom, explain_joined, explanation, reason_of_row
from ._text.written import Written

if TYPE_CHECKING:
    from ._bound import BoundMask

#: Absolute query positions, int64, broadcastable to (B, H, Q).
Queries = npt.NDArray[np.int64]

# A question takes up to four of Python's 1000 stack frames a level: with these it is answered, not left to overflow.
MAX_NESTED = 150


class Mask(ABC):
    """An immutable expression that says which key each query may see, free of any length.

    Combine masks with `&`, `|`, `^`, `~`, `-` and `.shift(q=…, k=…)`. Two masks are `==`, and hash alike, when their
    canonical form is the same: nested `&`, `|` and `^` are flattened, repeated terms dropped (under `^`, in pairs),
    `full` and `empty` folded away and operands sorted.

    Parameters that are arrays may be lists, NumPy arrays or tensors; flags may be bool or the integers 0 and 1. They
    are copied, and a tensor on a GPU costs one copy to the host, once, when the mask is made. One row alone for the
    batch is the same as none. What is given for each head is given for each query head.

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
    #: Whether a cell depends on the distance `q - k` alone, so that moving both back alike changes nothing.
    relative: bool = False
    #: How tightly the text form binds; an operand of a tighter operator is put in brackets.
    _level: int = 9
    #: The masks that this one is made of, which must speak of the same batch and heads.
    operands: tuple[Mask, ...] = ()
    #: How many masks lie one inside another, this one the outermost.
    depth: int = 1
    #: Whether all rows of a question are asked for in one piece, because the work over them has a budget.
    at_once: bool = False

    def _hold(self, operands: tuple[Mask, ...]) -> None:
        """Be made of these masks; every mask that has parts begins with it."""
        self.operands, self.depth = operands, 1 + max(operand.depth for operand in operands)
        if self.depth > MAX_NESTED:
            raise MaskError(
                f"a mask may be nested {MAX_NESTED} deep, got {self.depth}; join parts side by side: a | b | c is one "
                "level however long, (a | b) & c is two"
            )

    def _written(self) -> Written:
        """The call that makes this mask: identity, text, JSON and pickle follow from it."""
        raise MaskError(
            f"a mask is written as a call of a known atom, a {type(self).__name__} is not made by one; keep the mask "
            "that it came from"
        )

    def _identity(self) -> tuple[Any, ...]:
        """What makes this mask itself: hashable, and equal for equal masks."""
        return self._written().key()

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        """`_identity`, made once: arrays are copied into it."""
        return self._identity()

    def _text(self) -> str:
        """The text form, which `mw.parse` reads back when no array was shortened."""
        return self._written().text()

    @cached_property
    def _shown(self) -> str:
        """`_text`, made once: what is built on this mask asks for it again."""
        return self._text()

    @abstractmethod
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        """The exact geometry of the rows at these absolute positions (all >= 0), against keys `[0, kv_len)`."""

    def _check(self, extent: Extent) -> None:
        """Raise `GridError` when an array parameter does not cover the grid."""
        for operand in self.operands:
            operand._check(extent)

    def _explain(self, cell: Cell) -> Explanation:
        """Why `cell` is allowed or blocked; a mask with parts asks them."""
        return explain_atom(self, cell)

    def _reason(self, cell: Cell, row: Row) -> str:
        """One line of words and numbers: why this atom says what it says of `cell`, whose query sees `row`."""
        return reason_of_row(cell, row)

    @property
    def batch(self) -> int:
        """Batch rows that the parameters speak of, 1 when they are the same for all."""
        return self._lead[0]

    @property
    def heads(self) -> int:
        """Query heads that the parameters speak of, 1 when they are the same for all."""
        return self._lead[1]

    @cached_property
    def _lead(self) -> tuple[int, int]:
        """(batch, heads) of the operands, found once: what is built on this mask asks for it again."""
        return common_batch(*(mask.batch for mask in self.operands)), common_heads(*(m.heads for m in self.operands))

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
            heads: query heads; inferred and checked likewise.

        >>> import maskwork as mw
        >>> mw.causal().bind(1, 5, q_start=4).allowed     # one decoding step against five cached keys
        5
        """
        from ._bound import BoundMask
        from ._grid import Grid

        return BoundMask(self, Grid.build(self, q_len, kv_len, q_start=q_start, batch=batch, heads=heads))

    def __and__(self, other: Mask) -> Mask:
        return combine(And, (self, _operand(other, "&")))

    def __or__(self, other: Mask) -> Mask:
        return combine(Or, (self, _operand(other, "|")))

    def __xor__(self, other: Mask) -> Mask:
        return exclusive((self, _operand(other, "^")))

    def __sub__(self, other: Mask) -> Mask:
        return self & ~_operand(other, "-")

    # Two masks never come here: what does is an array, a tensor or a number on the left, which is refused alike.
    __array_ufunc__ = None  # else NumPy would take a mask for a scalar, and ask it cell by cell
    __rand__, __ror__, __rxor__, __rsub__ = __and__, __or__, __xor__, __sub__

    def __add__(self, other: object) -> NoReturn:
        raise MaskError(
            "masks are joined with & | ^ ~ -, got + or *; write a & b for what both allow (as 0 and -inf add up, and 0 "
            "and 1 multiply), or a | b for what either allows"
        )

    __radd__ = __mul__ = __rmul__ = __add__

    def __invert__(self) -> Mask:
        return Not(self)

    def shift(self, q: int = 0, k: int = 0) -> Mask:
        """This mask moved by `q` queries and `k` keys: cell (q', k') is its cell (q' - q, k' - k).

        A cell whose source lies before position 0 is not allowed. Shifting by 0 changes nothing, and shifts of shifts
        add up where that is exact. Where only `q - k` counts, as in `causal`, moving both back alike changes nothing.
        The whole grid moves: to restart a mask in each document, use `within`.

        >>> import maskwork as mw
        >>> mw.causal().shift(k=1).bind(3).dense().astype(int)[0, 0].tolist()    # k <= q + 1, and no key 0
        [[0, 1, 0], [0, 1, 1], [0, 1, 1]]
        """
        from ._shift import shifted

        return shifted(self, q, k)

    def to_json(self) -> str:
        """The whole mask as JSON, arrays included: see `Mask.from_json`, which reads it back.

        Raises:
            MaskError: the mask holds a function (`custom`), which JSON cannot carry, or is nested too deep.

        >>> import maskwork as mw
        >>> (mw.causal() & mw.sinks(2)).to_json()
        '{"maskwork":1,"mask":{"name":"&","args":[{"name":"causal"},{"name":"sinks","args":[2]}]}}'
        """
        from ._text.json import write_json

        return write_json(self)

    @staticmethod
    def from_json(text: str | bytes) -> Mask:
        """The mask that `to_json` wrote; safe on hostile input.

        Raises:
            MaskError: the text is not such JSON, of another version, too long or nested too deep.

        >>> import maskwork as mw
        >>> mask = mw.document(ids=range(100)) ^ mw.causal()
        >>> mw.Mask.from_json(mask.to_json()) == mask
        True
        """
        from ._text.json import read_json

        return read_json(text)

    def __reduce__(self) -> tuple[Any, ...]:
        from ._text.registry import make

        written = self._written()
        return make, (written.name, written.args, dict(written.named))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            from ._bound import BoundMask

            mend = f"; a bound mask has: mask.bind(q_len).{name}" if name[0] != "_" and hasattr(BoundMask, name) else ""
            raise AttributeError(f"a mask has no attribute {name!r}{mend}", name=name, obj=self)

    def __bool__(self) -> NoReturn:
        raise MaskError(
            "a mask has no truth value: `a and b` would silently drop a term; combine masks with & | ^ ~ -, "
            "or ask a bound mask: mask.bind(n).subset_of(other)"
        )

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Mask) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self._shown

    def __copy__(self) -> Mask:
        return self  # immutable: a copy could differ in nothing

    def __deepcopy__(self, memo: dict[int, Any]) -> Mask:
        return self


def _operand(value: object, sign: str) -> Mask:
    """`value`, once it is known to be a mask."""
    if isinstance(value, Mask):
        return value
    if hasattr(value, "mask"):
        mend = "join the masks first, then bind"
    elif callable(value):
        mend = "call it, as in mw.causal(), or pass it to mw.custom"
    else:
        mend = "build one with mw.real (keys marked 1) or mw.from_dense (True = may attend)"
    raise MaskError(f"`{sign}` joins a mask with a mask, got {type(value).__name__}; {mend}")


class Constant(Mask):
    """`full` or `empty`: every cell, or none."""

    depends_on_query = False
    relative = True

    def __init__(self, value: bool) -> None:
        self.value = value

    def _written(self) -> Written:
        return Written("full" if self.value else "empty")

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

    _level = 5

    def __init__(self, operand: Mask) -> None:
        self._hold((operand,))
        self.operand = operand
        self.depends_on_query = operand.depends_on_query
        self.relative = operand.relative

    def _written(self) -> Written:
        return Written("~", (self.operand,))

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
    """An associative, commutative operator: what `&`, `|` and `^` share. Built by `combine` and `exclusive` only."""

    sign: str
    #: What one operand says alone decides; None where every operand always counts.
    decisive: bool | None = None

    def __init__(self, operands: tuple[Mask, ...]) -> None:
        self._hold(operands)
        self.depends_on_query = any(operand.depends_on_query for operand in operands)
        self.relative = all(operand.relative for operand in operands)

    def _written(self) -> Written:
        return Written(self.sign, self.operands)

    def _text(self) -> str:
        return f" {self.sign} ".join(bracketed(operand, self._level) for operand in self.operands)

    def _explain(self, cell: Cell) -> Explanation:
        return explain_joined(self, cell, [operand._explain(cell) for operand in self.operands], self.decisive)

    def _parts(self, queries: Queries, kv_len: int) -> list[Spans]:
        """The operands' spans, fewest runs first: what follows works on small planes for as long as it can."""
        return sorted((operand._spans(queries, kv_len) for operand in self.operands), key=lambda spans: spans.runs)


class And(_Nary):
    """What all operands allow."""

    sign, _level, decisive = "&", 3, False
    #: The operand that changes nothing; its complement decides everything.
    neutral = True

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return reduce(sp.intersection, self._parts(queries, kv_len))


class Xor(_Nary):
    """What an odd number of operands allows. No operand is a complement: `~a ^ b` is `~(a ^ b)`."""

    sign, _level = "^", 2

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return reduce(sp.xor, self._parts(queries, kv_len))


class Or(_Nary):
    """What any operand allows."""

    sign, _level, decisive = "|", 1, True
    neutral = False

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return reduce(sp.union, self._parts(queries, kv_len))


def combine(kind: type[And] | type[Or], masks: Iterable[Mask]) -> Mask:
    """The canonical form of `masks` joined by `&` or `|`."""
    terms: dict[Any, Mask] = {}
    for mask in masks:
        for term in mask.operands if isinstance(mask, kind) else (mask,):
            if not isinstance(term, Constant):
                terms.setdefault(term._key, term)
            elif term.value != kind.neutral:
                return term
    _speak_alike(terms.values())
    if any((~term)._key in terms for term in terms.values()):
        return Constant(not kind.neutral)  # a & ~a allows nothing, a | ~a everything
    if not terms:
        return Constant(kind.neutral)
    return next(iter(terms.values())) if len(terms) == 1 else kind(_in_order(terms.values()))


def exclusive(masks: Iterable[Mask]) -> Mask:
    """The canonical form of `masks` joined by `^`: flat, without complements, constants or pairs."""
    terms: dict[Any, Mask] = {}
    flip = False
    pending = list(masks)
    _speak_alike(pending)
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
    """Single words before compounds, then by text: an order that does not depend on how the mask was written."""
    ordered = sorted(terms, key=lambda term: (term._level < 9, term._shown))
    if any(a._shown == b._shown for a, b in pairwise(ordered)):  # arrays whose digests agree: all of them must speak
        ordered.sort(key=lambda term: (term._level < 9, term._shown, repr(term._key)))
    return tuple(ordered)


def _speak_alike(masks: Iterable[Mask]) -> None:
    """Raise where the masks' parameters speak of different batches or heads."""
    masks = tuple(masks)
    common_batch(*(mask.batch for mask in masks))
    common_heads(*(mask.heads for mask in masks))


def bracketed(mask: Mask, level: int) -> str:
    """The text of an operand under an operator that binds at `level`."""
    return f"({mask._shown})" if mask._level < level else mask._shown


def common_batch(*sizes: int) -> int:
    """The one batch size other than 1, or 1."""
    return _common(sizes, "the same batch", "rows; pass equal batches")


def common_heads(*sizes: int) -> int:
    """The one number of heads other than 1, or 1."""
    return _common(sizes, "the same heads", "heads; pass one parameter for each query head")


def _common(sizes: Iterable[int], what: str, mend: str) -> int:
    found = sorted({size for size in sizes if size != 1})
    if len(found) > 1:
        raise MaskError(f"masks must speak of {what}, found {found[0]} and {found[1]} {mend}")
    return found[0] if found else 1
