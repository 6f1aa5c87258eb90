"""Which token influences which output, found by changing one token at a time and comparing bits."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: ids (B, L) -> outputs (B, L, anything)
Run = Callable[[torch.Tensor], torch.Tensor]

# Rows of one forward pass: enough to be fast, few enough that logits of a large vocabulary stay small.
_ROWS = 32


def influence(run: Run, ids: torch.Tensor) -> torch.Tensor:
    """float64 `(L, L)`: the largest change of output q when token k is replaced; exactly 0 where no bit changes.

    Args:
        run: the model; deterministic, and a row's output independent of the other rows at a fixed batch size.
        ids: int64 `(L,)`, with at least two different tokens: replacements are taken from the sequence itself, so
            that they are valid whatever the vocabulary.

    Both sides of each comparison have the same shape and the same row, because a matrix product may round
    differently at another shape or in another row. So any difference at all is an influence: no tolerance.
    """
    length = len(ids)
    others = ids.unique()
    effect = torch.zeros(length, length, dtype=torch.float64)
    baseline = run(ids.expand(_ROWS, length).clone())
    for first in range(0, length, _ROWS):
        keys = torch.arange(first, min(first + _ROWS, length))
        # Two different replacements each, where the sequence has them: one alone might by chance do nothing.
        for step in (1, 2):
            batch = ids.expand(_ROWS, length).clone()
            place = torch.searchsorted(others, ids[keys])
            batch[torch.arange(len(keys)), keys] = others[(place + step) % len(others)]
            change = (run(batch) - baseline).double().flatten(2).abs().nan_to_num(nan=torch.inf).amax(-1)
            effect[:, keys] = torch.maximum(effect[:, keys], change[: len(keys)].T.to(effect.device))
    return effect


def reach(allowed: torch.Tensor, layers: int | None) -> torch.Tensor:
    """bool `(L, L)`: what may influence what through `layers` masked layers with residuals (None: through any number).

    A residual lets each position see itself, so every layer adds one step along an allowed pair.
    """
    step = (allowed | torch.eye(len(allowed), dtype=torch.bool)).float()
    total = step
    for _ in range((layers or len(allowed)) - 1):
        further = (total @ step > 0).float()
        if torch.equal(further, total):
            break
        total = further
    return total > 0
