"""Which document each position is in, as the mask itself says: where it ends, no next token is to be predicted."""

from __future__ import annotations

import numpy as np

from .. import Mask


def documents(mask: Mask, length: int, b: int = 0) -> list[int] | None:
    """The number of each position's document in batch row `b`, -1 where it is in none; None if the mask names none.

    The first `document` or `within` in it counts, unless it is negated.

    >>> import maskwork as mw
    >>> documents(mw.causal() & mw.document([2, 3]), 5)
    [0, 0, 1, 1, 1]
    """
    spec = mask._spec()
    if spec.name in ("&", "|"):
        found = (documents(part, length, b) for part in spec.args)
        return next((numbers for numbers in found if numbers is not None), None)
    if spec.name not in ("document", "within"):
        return None
    if "ids" in spec.keywords:
        return _row(spec.keywords["ids"], b)[:length].tolist()
    lengths = _row(spec.args[-1], b)
    return np.repeat(np.arange(len(lengths)), lengths)[:length].tolist()


def _row(values: np.ndarray, b: int) -> np.ndarray:
    rows = np.atleast_2d(values)
    return rows[min(b, len(rows) - 1)]
