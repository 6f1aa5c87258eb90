"""Which known fault a pattern of leaks looks like."""

from __future__ import annotations

import torch

from .report import Cause

# A forbidden pair weighs this much of an allowed one, or less, when a mask is there but its value is too small: between
# exp(-1) for a mask of -1 (or a bool mask added as 0 and 1) and 1 for no mask at all.
_CONTRAST = 0.6


def cause_of(
    leaks: torch.Tensor,
    seen: torch.Tensor,
    allowed: torch.Tensor,
    *,
    layers: int = 1,
    contrast: float | None = None,
    documents: torch.Tensor | None = None,
) -> Cause | None:
    """The likeliest cause of `leaks`, bool `(Q, K)` with at least one pair; None when it is no known pattern.

    Args:
        leaks: forbidden pairs that influence.
        seen: all pairs that influence.
        allowed: what may influence.
        layers: through how many layers; a fault in each moves a border by as many positions.
        contrast: how strongly a forbidden pair weighs beside an allowed one, where that is known.
        documents: bool `(Q, K)`, whether two positions are of one document; found in `allowed` when left out.
    """
    q, k = leaks.nonzero(as_tuple=True)
    later = k > q
    forbidden = ~allowed
    off_diagonal = ~torch.eye(*leaks.shape, dtype=torch.bool)
    may = allowed & off_diagonal
    if later.all() and _beside(leaks, allowed, +1, layers):
        return Cause.OFF_BY_ONE
    if _from_other_corner(leaks, allowed):
        return Cause.ALIGNMENT
    documents = _documents(allowed) if documents is None else documents
    if (leaks & ~documents).any() and not (leaks & documents).any():
        return Cause.DOCUMENTS_JOINED
    if not later.any() and _beside(leaks, allowed, -1, layers):
        return Cause.WINDOW_OFF_BY_ONE
    if contrast is not None and contrast < _CONTRAST:
        return Cause.MASK_VALUE_TOO_SMALL
    # A row that leaks, leaks everywhere on its side. Attention may saturate, so that some pairs show no bit of change.
    side = torch.zeros_like(leaks)
    columns, rows = torch.arange(leaks.shape[1])[None], torch.arange(leaks.shape[0])[:, None]
    if later.any():
        side |= columns > rows
    if not later.all():
        side |= columns < rows
    expected = forbidden & side & leaks.any(1)[:, None]
    everywhere = bool(leaks.sum() >= 0.9 * expected.sum())
    if everywhere and may.any() and int((seen & may).sum()) <= 0.1 * int(may.sum()):
        return Cause.POLARITY
    if (leaks & ~documents).any() and documents.logical_not().any():
        return Cause.NO_MASK if everywhere else Cause.DOCUMENTS_JOINED
    return Cause.NO_MASK if everywhere else None


def _beside(leaks: torch.Tensor, allowed: torch.Tensor, way: int, layers: int) -> bool:
    """Whether every leak lies within `layers` cells of an allowed one, on the side `way` of it."""
    near = torch.zeros_like(allowed)
    moved = allowed | torch.eye(*allowed.shape, dtype=torch.bool)
    for _ in range(layers):
        step = torch.zeros_like(moved)
        if way > 0:
            step[:, 1:] = moved[:, :-1]
        else:
            step[:, :-1] = moved[:, 1:]
        near |= step
        moved = step
    return not (leaks & ~near).any()


def _from_other_corner(leaks: torch.Tensor, allowed: torch.Tensor) -> bool:
    """Whether the leaks are what the mask would allow if it were counted from the last query and key, not the first."""
    offset = allowed.shape[1] - allowed.shape[0]
    if not offset:
        return False
    moved = torch.zeros_like(allowed)
    if offset > 0:
        moved[:, offset:] = allowed[:, :-offset]
        moved[:, :offset] = True  # what a mask allows before its first column is not known
    else:
        moved[:, :offset] = allowed[:, -offset:]
    wanted = moved & ~allowed & (leaks.any(1)[:, None])
    return not (leaks & ~moved).any() and bool(leaks.sum() >= 0.9 * wanted.sum())


def _documents(allowed: torch.Tensor) -> torch.Tensor:
    """bool `(Q, K)`: positions that the mask ties together, directly or through others."""
    if allowed.shape[0] != allowed.shape[1]:
        return torch.ones_like(allowed)
    tied = (allowed | allowed.T | torch.eye(len(allowed), dtype=torch.bool)).float()
    while not torch.equal(further := (tied @ tied > 0).float(), tied):
        tied = further
    return tied > 0
