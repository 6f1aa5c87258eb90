"""`from_zero`: what an atom that looks queries up in an array says of a query before position 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from ..spans import Spans, single
from ._mask import Mask, Queries

_M = TypeVar("_M", bound=Mask)
_Options = ParamSpec("_Options")


def from_zero(
    rows: Callable[Concatenate[_M, Queries, int, _Options], Spans],
) -> Callable[Concatenate[_M, Queries, int, _Options], Spans]:
    """Return the `_spans` of an atom that looks queries up in an array: a query before position 0 sees no key.

    It serves `_spans_within` too, whose extent is passed on.
    """

    @wraps(rows)
    def spans(mask: _M, queries: Queries, kv_len: int, *args: _Options.args, **options: _Options.kwargs) -> Spans:
        before = queries < 0
        if not before.any():
            return rows(mask, queries, kv_len, *args, **options)
        if before.all():  # the array may have no entry at all
            return single(0, 0, kv_len)
        # Rows of position 0 stand in, and are emptied.
        found = rows(mask, np.maximum(queries, 0), kv_len, *args, **options)
        sides = (np.where(before, np.int32(kv_len), planes) for planes in (found.planes_starts, found.planes_ends))
        return Spans(*sides, kv_len).trim()

    return spans
