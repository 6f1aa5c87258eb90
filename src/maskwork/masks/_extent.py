"""`Extent`: how far a grid reaches, which the array parameters of a mask must cover; `from_zero`: queries before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import GridError
from ..spans import Spans, single
from ._arrays import Ints

_LENGTHEN = "lengthen them, or give the padding a document of its own"


@dataclass(frozen=True)
class Extent:
    """The reach of a grid, in absolute positions.

    Attributes:
        queries: one past the last query position.
        keys: one past the last key position.
        full_length: True: the grid is the full sequence, so arrays must match its length exactly.
    """

    queries: int
    keys: int
    full_length: bool

    @property
    def positions(self) -> int:
        """The number of positions that an array must cover when queries and keys share its positions."""
        return max(self.queries, self.keys)


def check_cover(
    mask: object, parameter: str, covered: Ints, extent: Extent, need: int | None = None, fix: str = _LENGTHEN
) -> None:
    """Raise `GridError` unless an array parameter covers every position of the grid, and of a full sequence no more.

    Args:
        mask: the mask, for the message.
        parameter: subject and verb of the message: `lengths sum to`.
        covered: positions that each batch row of the parameter covers.
        extent: the grid's reach.
        need: positions to cover; all of the grid's when left out.
        fix: the advice where the parameter is too short.
    """
    need = extent.positions if need is None else need
    shortest, longest = int(covered.min(initial=need)), int(covered.max(initial=0))
    if shortest < need:
        raise GridError(
            f"the {parameter} at least the grid's {need} positions, or cells would be undefined, got those of "
            f"{mask!r}, which reach {shortest}; {fix}"
        )
    if extent.full_length and longest > need:
        raise GridError(
            f"the {parameter} exactly the grid's {need} positions, got those of {mask!r}, which reach {longest}; "
            "shorten them, or bind a part of a longer sequence by giving q_start"
        )


_SpansMethod = TypeVar("_SpansMethod", bound=Callable[..., Spans])


def from_zero(rows: _SpansMethod) -> _SpansMethod:
    """Return the `_spans` of an atom that looks queries up in an array: a query before position 0 sees no key.

    It serves `_spans_within` too, whose extent is passed on.
    """

    @wraps(rows)
    def spans(mask: Any, queries: Ints, kv_len: int, *extent: Any) -> Spans:
        before = queries < 0
        if not before.any():
            return rows(mask, queries, kv_len, *extent)
        if before.all():  # the array may have no entry at all
            return single(0, 0, kv_len)
        # Rows of position 0 stand in, and are emptied.
        inside = rows(mask, np.maximum(queries, 0), kv_len, *extent)
        starts, ends = (
            np.where(before, np.int32(kv_len), planes) for planes in (inside.planes_starts, inside.planes_ends)
        )
        return Spans(starts, ends, kv_len).trim()

    return cast(_SpansMethod, spans)
