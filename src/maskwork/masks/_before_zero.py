"""`from_zero`: what an atom that looks queries up in an array says of a query before position 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from ..spans import Spans, single
from ._mask import Mask, Queries

# The decorated method keeps its own signature, names of parameters included, as overrides must.
_Rows = TypeVar("_Rows", bound=Callable[..., Spans])


def from_zero(rows: _Rows) -> _Rows:
    """Return the `_spans` of an atom that looks queries up in an array: a query before position 0 sees no key.

    It serves `_spans_within` too, whose extent is passed on.
    """

    @wraps(rows)
    def spans(mask: Mask, queries: Queries, kv_len: int, *args: Any, **options: Any) -> Spans:
        before = queries < 0
        if not before.any():
            return rows(mask, queries, kv_len, *args, **options)
        if before.all():  # the array may have no entry at all
            return single(0, 0, kv_len)
        # Rows of position 0 stand in, and are emptied.
        found = rows(mask, np.maximum(queries, 0), kv_len, *args, **options)
        starts, ends = (np.where(before, np.int32(kv_len), side) for side in (found.planes_starts, found.planes_ends))
        return Spans(starts, ends, kv_len).trim()

    return cast(_Rows, spans)
