"""Which known fault a pattern of leaks looks like."""

from __future__ import annotations

import torch

from ._report import Cause


def cause_of(leaks: torch.Tensor, layers: int | None, documents: torch.Tensor) -> Cause | None:
    """The likeliest cause of `leaks`, bool `(L, L)`; None when it is no known pattern.

    Args:
        leaks: at least one (query, key) pair.
        layers: through how many layers influence may spread; None when unknown.
        documents: bool `(L, L)`, whether two positions are of the same document.
    """
    future = torch.ones_like(leaks).triu(1)
    q, k = leaks.nonzero(as_tuple=True)
    # One step too far in each layer reaches as many tokens ahead as there are layers, and one at the very least. It
    # is asked first: the last step of a document leads into the next, though nothing joined the two.
    if not (leaks & ~future).any() and int((k - q).max()) <= (layers or 1):
        return Cause.OFF_BY_ONE
    if (leaks & ~documents).any():
        return Cause.DOCUMENTS_JOINED
    if (leaks & ~future).any():
        return None
    # Attention may saturate, so that some pairs show no bit of change; nine in ten is a missing mask all the same.
    return Cause.NO_MASK if leaks.sum() >= 0.9 * (future & documents).sum() else None
