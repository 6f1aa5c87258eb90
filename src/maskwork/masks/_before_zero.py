"""`from_zero`: what an atom that looks queries up in an array says of a query before position 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from ..spans import Spans, single
from ._mask import Mask, Queries

_SpansMethod = TypeVar("_SpansMethod", bound=Callable[..., Spans])


def from_zero(rows: _SpansMethod) -> _SpansMethod:
    """Return the `_spans` of an atom that looks queries up in an array: a query before position 0 sees no key.

    It serves `_spans_within` too, whose extent is passed on.
    """

    @wraps(rows)
    def spans(mask: Mask, queries: Queries, kv_len: int, *extent: Any) -> Spans:
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
