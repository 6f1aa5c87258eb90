"""Flow that the mask allows and the model does not have: over-masked models train badly and silently."""

from __future__ import annotations

import torch

#: A region is structured from this many pairs on; fewer are chance.
_LEAST = 3


def missing_words(missing: torch.Tensor, allowed: torch.Tensor) -> str:
    """What is missing, in words; empty when nothing structured is. Both bool `(Q, K)`.

    Structured: a whole diagonal, a whole column or a whole row of what is allowed.

    >>> import torch
    >>> allowed = torch.ones(6, 6).tril().bool()
    >>> missing_words(allowed & torch.ones(6, 6).triu(-2).bool().logical_not(), allowed)
    'inputs 3 to 5 positions back never influence an output, though the mask allows it (6 pairs)'
    """
    q, k = torch.meshgrid(torch.arange(len(missing)), torch.arange(missing.shape[1]), indexing="ij")
    off = q != k
    missing, allowed = missing & off, allowed & off
    back = [d for d in range(-missing.shape[1] + 1, len(missing)) if d and _whole(missing, allowed, q - k == d)]
    if back:
        pairs = sum(int((missing & (q - k == d)).sum()) for d in back)
        if pairs >= _LEAST:
            far = [d for d in back if d > 0] or back
            reach = f"{min(far)}" if min(far) == max(far) else f"{min(far)} to {max(far)}"
            return f"inputs {reach} positions back never influence an output, though the mask allows it ({pairs} pairs)"
    columns = [
        c for c in range(missing.shape[1]) if _whole(missing, allowed, k == c) and (missing & (k == c)).sum() >= _LEAST
    ]
    if columns:
        pairs = sum(int(missing[:, c].sum()) for c in columns)
        words = f"input {columns[0]} influences no other output, though the mask allows it"
        return f"{words} ({pairs} pairs in {len(columns)} columns)"
    rows = [r for r in range(len(missing)) if _whole(missing, allowed, q == r) and (missing & (q == r)).sum() >= _LEAST]
    if rows:
        pairs = sum(int(missing[r].sum()) for r in rows)
        words = f"output {rows[0]} depends on no other input, though the mask allows it"
        return f"{words} ({pairs} pairs in {len(rows)} rows)"
    return ""


def _whole(missing: torch.Tensor, allowed: torch.Tensor, region: torch.Tensor) -> bool:
    wanted = allowed & region
    return bool(wanted.any()) and not bool((wanted & ~missing).any())
