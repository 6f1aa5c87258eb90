"""`Mask`: the base of every expression. It imports in a circle with `BoundMask`.

A mask joins and binds itself, so `_mask`, `_joined`, `_bound`, `_shift` and `_questions/derived` import
one another, this file only inside functions. `tests/test_layout.py` lists these imports and allows no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from .. import spans as sp
from ..errors import MaskError
from ..spans import Spans
from ._extent import Extent
from ._questions.explain import Cell, Explanation, Row, explain_atom, reason_of_row
from ._text.registry import make
from ._text.spec import Arrays, Expression

if TYPE_CHECKING:
    from ._bound import BoundMask

#: Absolute query positions, int64, broadcastable to (B, H, Q).
Queries = npt.NDArray[np.int64]

#: Most masks one inside another. A method of `Mask` takes up to four of Python's 1000 stack frames per level, so this
#: depth raises a message of ours before Python overflows.
MAX_NESTED = 150


class Mask(Expression, ABC):
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
    #: The masks that this mask combines; their batch sizes and head counts agree.
    operands: tuple[Mask, ...] = ()
    #: How many masks lie one inside another, this one the outermost.
    depth: int = 1
    #: Whether rows may have many runs, so that they are best asked for inside of a narrow extent.
    many_runs: bool = False
    #: Whether all rows of a grid must be evaluated in one call, because the work over them has a budget.
    single_pass: bool = False

    def _set_operands(self, operands: tuple[Mask, ...]) -> None:
        """Store the operands and check the nesting depth. Every composite calls this first."""
        self.operands, self.depth = operands, 1 + max(operand.depth for operand in operands)
        if self.depth > MAX_NESTED:
            raise MaskError(
                f"a mask may be nested {MAX_NESTED} deep, got {self.depth}; join parts side by side: a | b | c is one "
                "level however long, (a | b) & c is two"
            )

    @abstractmethod
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        """Return the exact spans of the rows at these absolute positions, against keys `[0, kv_len)`.

        A position below 0 stands before the first key: a formula gives its row, an array has none (`from_zero`).
        """

    def _spans_within(self, queries: Queries, kv_len: int, extent: Spans) -> Spans:
        """Return the spans of these rows inside of `extent` alone, one run a row; `&` asks so for masks of many runs.

        An atom whose rows have many runs overrides this where it can compute few of them.
        """
        return sp.intersection(extent, self._spans(queries, kv_len))

    def _check(self, extent: Extent) -> None:
        """Raise `GridError` when an array parameter does not cover the grid."""
        for operand in self.operands:
            operand._check(extent)

    def _resolve(self, batch: int | None, heads: int | None) -> Mask:
        """Return this mask for a grid of so many batch rows and heads, None = not said: see `custom`."""
        if not self.calls_function:
            return self
        spec = self._spec()

        def resolved(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(resolved, value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            return value._resolve(batch, heads) if isinstance(value, Mask) else value

        return make(spec.name, resolved(spec.args), dict(spec.keywords))

    def _explain(self, cell: Cell) -> Explanation:
        """Return why `cell` is allowed or blocked. A composite combines the explanations of its operands."""
        return explain_atom(self, cell)

    def _reason(self, cell: Cell, row: Row) -> str:
        """Return one line of words and numbers: why this atom allows or blocks `cell`, whose query sees `row`."""
        return reason_of_row(cell, row)

    @cached_property
    def calls_function(self) -> bool:
        """Whether a part of this mask calls a function of the user's, which may read what changes between two calls."""
        return self.single_pass or any(operand.calls_function for operand in self.operands)

    @property
    def batch(self) -> int:
        """The batch size of the parameters, 1 when they are the same for all batch rows."""
        return self._batch_heads[0]

    @property
    def heads(self) -> int:
        """The number of query heads of the parameters, 1 when they are the same for all heads."""
        return self._batch_heads[1]

    @cached_property
    def _batch_heads(self) -> tuple[int, int]:
        """(batch, heads) of the operands. Cached, because every composite asks for it."""
        return common_batch(*(mask.batch for mask in self.operands)), common_heads(*(m.heads for m in self.operands))

    def bind(
        self,
        q_len: int,
        kv_len: int | None = None,
        *,
        q_start: Any = None,
        batch: int | None = None,
        heads: int | None = None,
    ) -> BoundMask:
        """Bind this mask to a grid: queries `[q_start, q_start + q_len)` against keys `[0, kv_len)`.

        Args:
            q_len: number of queries.
            kv_len: number of keys; `q_start + q_len` when left out.
            q_start: absolute position of the first query: an int, or one for each batch row. It may be left out when
                `q_len == kv_len` (then 0) or when the mask does not depend on the query. Queries that are aligned with
                the keys at the end start at `kv_len - q_len`, which may be below 0: a query before position 0 sees
                what the mask's formula says, and nothing of an array that has no entry for it.
            batch: batch rows; inferred from the mask's parameters, and checked against them.
            heads: query heads; inferred and checked likewise.

        Returns:
            the mask with its exact geometry on that grid, which is computed when it is first needed.

        Raises:
            GridError: `q_start` is missing, or an array parameter does not cover the grid.

        >>> import maskwork as mw
        >>> mw.causal().bind(1, 5, q_start=4).allowed     # one decoding step against five cached keys
        5
        >>> mw.causal().bind(1, 5, q_start=[4, 2]).dense().sum(-1).ravel().tolist()     # two sequences, of 5 and 3 keys
        [5, 3]
        """
        from ._bound import BoundMask
        from ._grid import Grid

        mask, grid = Grid.build(self, q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
        return BoundMask(mask, grid)

    def __and__(self, other: Mask) -> Mask:
        from ._joined import And, combine

        return combine(And, (self, _operand(other, "&")))

    def __or__(self, other: Mask) -> Mask:
        from ._joined import Or, combine

        return combine(Or, (self, _operand(other, "|")))

    def __xor__(self, other: Mask) -> Mask:
        from ._joined import exclusive

        return exclusive((self, _operand(other, "^")))

    def __sub__(self, other: Mask) -> Mask:
        return self & ~_operand(other, "-")

    # NumPy would take a mask for a scalar and call the operator for each element of an array.
    __array_ufunc__ = None
    # Two masks never get here: the left operand is an array, a tensor or a number, which `_operand` refuses.
    __rand__, __ror__, __rxor__, __rsub__ = __and__, __or__, __xor__, __sub__

    def __add__(self, other: object) -> NoReturn:
        raise MaskError(
            "masks are joined with & | ^ ~ -, got + or *; write a & b for what both allow (as 0 and -inf add up, and 0 "
            "and 1 multiply), or a | b for what either allows"
        )

    __radd__ = __mul__ = __rmul__ = __add__

    def __invert__(self) -> Mask:
        from ._joined import Not

        return Not(self)

    def shift(self, q: Any = 0, k: Any = 0) -> Mask:
        """Move this mask by `q` queries and `k` keys: cell (q', k') is its cell (q' - q, k' - k).

        Both are ints, or hold one for each batch row; below 0 moves back. Moving forth leaves out what would come from
        before position 0. Shifting by 0 changes nothing, and shifts of shifts add up where that is exact. Where only
        `q - k` counts, as in `causal`, moving both back alike changes nothing. The whole grid moves: to restart a mask
        in each document, use `within`; where sequences start apart, bind with a `q_start` for each batch row.

        >>> import maskwork as mw
        >>> mw.causal().shift(k=1).bind(3).dense().astype(int)[0, 0].tolist()    # k <= q + 1, and no key 0
        [[0, 1, 0], [0, 1, 1], [0, 1, 1]]
        """
        from ._shift import shifted_rows

        return shifted_rows(self, q, k)

    def to_text(self, arrays: Arrays = "short") -> str:
        """Return the text form, with long arrays shortened or in full.

        Args:
            arrays: "short", the default, is `repr(mask)`: an array of more than 16 numbers is a digest. "full" writes
                all numbers, so that `mw.parse(mask.to_text(arrays="full")) == mask`.

        Raises:
            MaskError: with "full", `mw.parse` could not read the text back: the mask holds a function (`custom`), or
                the text would be too long or nested too deep.

        >>> import maskwork as mw
        >>> mask = mw.causal() & mw.document([3] * 20)
        >>> mask.to_text()
        'causal & document(<int64[20] 9fb1c38e>)'
        >>> mask.to_text(arrays="full")
        'causal & document([3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3])'
        """
        if arrays == "short":
            return self._short_text
        if arrays != "full":
            raise MaskError(f'arrays are written "short" or "full", got {arrays!r:.40}')
        from ._text.grammar import check_readable

        text = self._write("full")
        check_readable(text)
        return text

    def to_json(self) -> str:
        """Return the mask as JSON, arrays included: see `Mask.from_json`, which reads it back.

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
        """Read the mask that `to_json` wrote; safe on hostile input.

        Raises:
            MaskError: the text is not such JSON, of another version, too long or nested too deep.

        >>> import maskwork as mw
        >>> mask = mw.document(ids=range(100)) ^ mw.causal()
        >>> mw.Mask.from_json(mask.to_json()) == mask
        True
        """
        from ._text.json import read_json

        return read_json(text)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            from ._bound import BoundMask

            on_bound = name[0] != "_" and hasattr(BoundMask, name)
            fix = f"; a bound mask has: mask.bind(q_len).{name}" if on_bound else ""
            raise AttributeError(f"a mask has no attribute {name!r}{fix}", name=name, obj=self)

    def __bool__(self) -> NoReturn:
        raise MaskError(
            "a mask has no truth value: `a and b` would silently drop a term; combine masks with & | ^ ~ -, "
            "or ask a bound mask: mask.bind(n).subset_of(other)"
        )

    # A mask is immutable, so that a copy could differ in nothing.
    def __copy__(self) -> Mask:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Mask:
        return self


def _operand(value: object, sign: str) -> Mask:
    """Return `value`, the right operand of `sign`, after checking that it is a mask."""
    if isinstance(value, Mask):
        return value
    if hasattr(value, "mask"):
        fix = "join the masks first, then bind"
    elif callable(value):
        fix = "call it, as in mw.causal(), or pass it to mw.custom"
    else:
        fix = "build one with mw.real (keys marked 1) or mw.from_dense (True = may attend)"
    raise MaskError(f"`{sign}` joins a mask with a mask, got {type(value).__name__}; {fix}")


def as_masks(value: Any, name: str) -> tuple[Mask, ...]:
    """Return several masks as a tuple, after checking each."""
    if not isinstance(value, Sequence):
        raise MaskError(f"{name} takes masks, got {value!r:.60} ({type(value).__name__}); pass them as a list")
    for item in value:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(item, Mask):
            fault = f"{item!r:.60} ({type(item).__name__})"  # pyright: ignore[reportUnknownArgumentType]
            raise MaskError(f"{name} takes masks, got {fault}; build one with mw.causal() …")
    return tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def common_batch(*sizes: int) -> int:
    """Return the one batch size other than 1, or 1."""
    return _common(sizes, "batch size", "batch rows; pass equal batches")


def common_heads(*sizes: int) -> int:
    """Return the one number of heads other than 1, or 1."""
    return _common(sizes, "number of heads", "heads; pass one parameter for each query head")


def _common(sizes: Iterable[int], quantity: str, unit_and_fix: str) -> int:
    different = sorted({size for size in sizes if size != 1})
    if len(different) > 1:
        raise MaskError(f"masks must have the same {quantity}, got {different[0]} and {different[1]} {unit_and_fix}")
    return different[0] if different else 1
