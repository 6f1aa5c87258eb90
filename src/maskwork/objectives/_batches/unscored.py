"""Tokens that are read and never scored: an example of them, and a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data import IGNORED, Example, Reason, Side
from ...masks import Mask
from .batch import Batch
from .collate import collate, pad


def unscored(tokens: np.ndarray, mask: Mask) -> Example:
    """The tokens as context, under this mask."""
    n = len(tokens)
    nothing = np.full(n, IGNORED, dtype=np.int64)
    return Example(tokens, nothing, np.zeros(n, np.float32), mask, np.full(n, Reason.CONTEXT, dtype=np.uint8))


def unscored_batch(documents: Sequence[np.ndarray], mask: Mask, side: Side) -> Batch:
    """Each document in a row of its own, padded on that side."""
    return collate(pad([unscored(tokens, mask) for tokens in documents], side=side))
