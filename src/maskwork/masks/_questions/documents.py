"""The document of each position, read from a mask. Where a document ends, no next token is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Ints

if TYPE_CHECKING:
    from .._mask import Mask


def documents(mask: Mask, length: int, b: int = 0) -> list[int] | None:
    """Return the document number of each position of batch row `b`, -1 = none; None for a mask without documents.

    The first `document` or `within` of the mask counts, unless the term is negated.

    >>> import maskwork as mw
    >>> documents(mw.causal() & mw.document([2, 3]), 5)
    [0, 0, 1, 1, 1]
    """
    spec = mask._spec()
    # A negated document (`~`, `-`) separates no documents, so only `&` and `|` are searched.
    if spec.name in ("&", "|"):
        parts = (documents(part, length, b) for part in spec.args)
        return next((numbers for numbers in parts if numbers is not None), None)
    if spec.name not in ("document", "within"):
        return None
    if "ids" in spec.keywords:
        return _row(spec.keywords["ids"], b)[:length].tolist()
    # Lengths are the last argument of both: document(lengths), within(mask, lengths).
    lengths = _row(spec.args[-1], b)
    return np.repeat(np.arange(len(lengths)), lengths)[:length].tolist()


def _row(values: Any, b: int) -> Ints:
    rows: Ints = np.atleast_2d(values)
    return rows[min(b, len(rows) - 1)]
