"""Patterns in tables of influence: which known fault leaks look like, which allowed flow is missing, and a picture."""

from __future__ import annotations

import torch

from .report import Cause

# A forbidden pair weighs this much of an allowed one, or less, when a mask is there but its value is too small: between
# exp(-1) for a mask of -1 (or a bool mask added as 0 and 1) and 1 for no mask at all.
_CONTRAST = 0.6

# Missing pairs are structured from this number on; fewer are chance.
_LEAST_MISSING = 3

# Cells along a picture's side: wider pictures wrap in a log.
_SIDE = 16


def shortest_pair(leaks: torch.Tensor) -> tuple[int, int]:
    """Return the (query, key) of the pairs in bool `(Q, K)` that lie closest together, the first of them."""
    q, k = leaks.nonzero(as_tuple=True)
    nearest = int((q - k).abs().argmin())
    return int(q[nearest]), int(k[nearest])


def cause_of(
    leaks: torch.Tensor,
    observed: torch.Tensor,
    allowed: torch.Tensor,
    *,
    layers: int = 1,
    contrast: float | None = None,
    documents: torch.Tensor | None = None,
) -> Cause | None:
    """Return the likeliest cause of `leaks`, bool `(Q, K)` with at least one pair; None when no pattern fits.

    Patterns are tried from the narrowest to the widest, since a wide one covers a narrow one's leaks too.

    Args:
        leaks: forbidden pairs that influence.
        observed: all pairs that influence.
        allowed: pairs that may influence.
        layers: through how many layers; a fault in each moves a border by as many positions.
        contrast: how strongly a forbidden pair weighs beside an allowed one, where that is known.
        documents: bool `(Q, K)`, whether two positions are of one document; derived from `allowed` when None.
    """
    q, k = leaks.nonzero(as_tuple=True)
    later = k > q
    forbidden = ~allowed
    off_diagonal = ~torch.eye(*leaks.shape, dtype=torch.bool)
    may = allowed & off_diagonal
    if later.all() and _borders(leaks, allowed, +1, layers):
        return Cause.OFF_BY_ONE
    if _from_other_corner(leaks, allowed):
        return Cause.ALIGNMENT
    documents = _documents(allowed) if documents is None else documents
    # Leaks between documents alone, none within one.
    if (leaks & ~documents).any() and not (leaks & documents).any():
        return Cause.DOCUMENTS_JOINED
    if not later.any() and _borders(leaks, allowed, -1, layers):
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
    # Forbidden pairs are open and allowed ones closed: the mask's True and False are exchanged.
    if everywhere and may.any() and int((observed & may).sum()) <= 0.1 * int(may.sum()):
        return Cause.POLARITY
    if (leaks & ~documents).any() and documents.logical_not().any():
        return Cause.NO_MASK if everywhere else Cause.DOCUMENTS_JOINED
    return Cause.NO_MASK if everywhere else None


def _borders(leaks: torch.Tensor, allowed: torch.Tensor, direction: int, layers: int) -> bool:
    """Return whether every leak lies within `layers` cells of an allowed one, to its right (+1) or to its left (-1).

    A window of 2 that is one key too wide (leaks `!` to the left of allowed cells `#`):

        #...
        ##..
        !##.
        .!##
    """
    border = torch.zeros_like(allowed)
    moved = allowed | torch.eye(*allowed.shape, dtype=torch.bool)
    for _ in range(layers):
        shifted = torch.zeros_like(moved)
        if direction > 0:
            shifted[:, 1:] = moved[:, :-1]
        else:
            shifted[:, :-1] = moved[:, 1:]
        border |= shifted
        moved = shifted
    return not (leaks & ~border).any()


def _from_other_corner(leaks: torch.Tensor, allowed: torch.Tensor) -> bool:
    """Return whether the leaks are what the mask would allow if counted from the last query and key, not the first."""
    offset = allowed.shape[1] - allowed.shape[0]
    if not offset:
        return False
    moved = torch.zeros_like(allowed)
    if offset > 0:
        moved[:, offset:] = allowed[:, :-offset]
        moved[:, :offset] = True  # what a mask allows before its first column is not known
    else:
        moved[:, :offset] = allowed[:, -offset:]
    expected = moved & ~allowed & (leaks.any(1)[:, None])
    return not (leaks & ~moved).any() and bool(leaks.sum() >= 0.9 * expected.sum())


def _documents(allowed: torch.Tensor) -> torch.Tensor:
    """Return bool `(Q, K)`: positions that the mask connects, directly or through others."""
    if allowed.shape[0] != allowed.shape[1]:
        return torch.ones_like(allowed)
    connected = (allowed | allowed.T | torch.eye(len(allowed), dtype=torch.bool)).float()
    while not torch.equal(further := (connected @ connected > 0).float(), connected):
        connected = further
    return connected > 0


def missing_words(missing: torch.Tensor, allowed: torch.Tensor) -> str:
    """Return words for allowed flow that is missing, both bool `(Q, K)`; "" when the missing pairs have no structure.

    Over-masked models train badly and silently. Structured is a full diagonal, column or row of the allowed pairs.

    >>> import torch
    >>> allowed = torch.ones(6, 6).tril().bool()
    >>> missing_words(allowed & torch.ones(6, 6).triu(-2).bool().logical_not(), allowed)
    'inputs 3 to 5 positions back never influence an output, though the mask allows it (6 pairs)'
    """
    q, k = torch.meshgrid(torch.arange(len(missing)), torch.arange(missing.shape[1]), indexing="ij")
    missing, allowed = missing & (q != k), allowed & (q != k)
    back = [d for d in range(-missing.shape[1] + 1, len(missing)) if d and _all_missing(missing, allowed, q - k == d)]
    if back:
        pairs = sum(int((missing & (q - k == d)).sum()) for d in back)
        if pairs >= _LEAST_MISSING:
            distances = [d for d in back if d > 0] or back
            low, high = min(distances), max(distances)
            span = f"{low}" if low == high else f"{low} to {high}"
            return f"inputs {span} positions back never influence an output, though the mask allows it ({pairs} pairs)"
    columns = [c for c in range(missing.shape[1]) if _all_missing(missing, allowed, k == c, _LEAST_MISSING)]
    if columns:
        pairs = sum(int(missing[:, c].sum()) for c in columns)
        words = f"input {columns[0]} influences no other output, though the mask allows it"
        return f"{words} ({pairs} pairs in {len(columns)} columns)"
    rows = [r for r in range(len(missing)) if _all_missing(missing, allowed, q == r, _LEAST_MISSING)]
    if rows:
        pairs = sum(int(missing[r].sum()) for r in rows)
        words = f"output {rows[0]} depends on no other input, though the mask allows it"
        return f"{words} ({pairs} pairs in {len(rows)} rows)"
    return ""


def _all_missing(missing: torch.Tensor, allowed: torch.Tensor, region: torch.Tensor, least: int = 1) -> bool:
    """Return whether every allowed pair of the region is missing, and at least `least` pairs are."""
    expected = allowed & region
    return bool(expected.any()) and not bool((expected & ~missing).any()) and int((missing & region).sum()) >= least


def picture(allowed: torch.Tensor, observed: torch.Tensor, query: int, key: int) -> str:
    """Draw the part around (query, key) of two bool `(Q, K)` tables, each disagreement marked.

    >>> import torch
    >>> causal = torch.ones(4, 4).tril().bool()
    >>> print(picture(causal, torch.ones(4, 4).tril(1).bool(), 0, 1))
    rows: outputs 0..3   columns: inputs 0..3
    █!··
    ██!·
    ███!
    ████
    █ allowed and seen   · forbidden and unseen   ! forbidden but seen   o allowed but unseen
    """
    q0, q1 = _part(query, allowed.shape[0])
    k0, k1 = _part(key, allowed.shape[1])
    glyphs = {(True, True): "█", (False, False): "·", (False, True): "!", (True, False): "o"}
    rows = ["".join(glyphs[bool(allowed[q, k]), bool(observed[q, k])] for k in range(k0, k1)) for q in range(q0, q1)]
    legend = "█ allowed and seen   · forbidden and unseen   ! forbidden but seen   o allowed but unseen"
    return "\n".join([f"rows: outputs {q0}..{q1 - 1}   columns: inputs {k0}..{k1 - 1}", *rows, legend])


def _part(centre: int, length: int) -> tuple[int, int]:
    start = max(0, min(centre - _SIDE // 2, length - _SIDE))
    return start, min(length, start + _SIDE)
