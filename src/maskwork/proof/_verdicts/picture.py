"""Expected against observed, drawn in characters, with each disagreement marked."""

from __future__ import annotations

import torch

#: Cells along a side: wider pictures wrap in a log.
_SIDE = 16


def picture(allowed: torch.Tensor, seen: torch.Tensor, query: int, key: int) -> str:
    """The part round (query, key) of two bool `(Q, K)` tables.

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
    rows = ["".join(glyphs[bool(allowed[q, k]), bool(seen[q, k])] for k in range(k0, k1)) for q in range(q0, q1)]
    legend = "█ allowed and seen   · forbidden and unseen   ! forbidden but seen   o allowed but unseen"
    return "\n".join([f"rows: outputs {q0}..{q1 - 1}   columns: inputs {k0}..{k1 - 1}", *rows, legend])


def _part(centre: int, length: int) -> tuple[int, int]:
    start = max(0, min(centre - _SIDE // 2, length - _SIDE))
    return start, min(length, start + _SIDE)
