"""Which token influences which output, found by changing one token at a time and comparing bits."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from ._compare import change

#: ids (B, L) -> outputs (B, L, anything)
Run = Callable[[torch.Tensor], torch.Tensor]

# Rows of one forward pass: enough to be fast, few enough that logits of a large vocabulary stay small.
_ROWS = 32


def replacements(ids: torch.Tensor, vocab_size: int | None) -> torch.Tensor:
    """int64 `(R, L)`: R other tokens for each position, all different; the same at every call.

    Two come from the sequence itself, so they are valid whatever the vocabulary; where its size is known, two more
    from anywhere in it, since a leak may fire for tokens that the sequence lacks. Fewer where there are no more.

    >>> import torch
    >>> replacements(torch.tensor([7, 8, 8, 7]), None)
    tensor([[8, 7, 7, 8]])
    """
    rng = random.Random(0)
    known = sorted(set(ids.tolist()))
    rows: list[list[int]] = []
    for token in ids.tolist():
        place = known.index(token)
        others = [known[(place + step) % len(known)] for step in range(1, min(3, len(known)))]
        if vocab_size:
            # Five contain two that are neither the token nor one of the two others.
            drawn = rng.sample(range(vocab_size), min(5, vocab_size))
            others += [new for new in drawn if new not in (token, *others)][:2]
        rows.append(others)
    # Ids outside the vocabulary that the model states would leave some rows longer than others.
    count = min(map(len, rows))
    return torch.tensor([row[:count] for row in rows], device=ids.device).T


def influence(run: Run, ids: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """float64 `(L, L)`: the largest change of output q when token k is replaced; exactly 0 where no bit changes.

    Args:
        run: the model; deterministic, and a row's output independent of the other rows at a fixed batch size.
        ids: int64 `(L,)`.
        others: int64 `(R, L)`, from `replacements`. More than one each: one alone might by chance do nothing.

    Both sides of each comparison have the same shape and the same row, because a matrix product may round
    differently at another shape or in another row. So any difference at all is an influence: no tolerance.
    """
    length = len(ids)
    effect = torch.zeros(length, length, dtype=torch.float64)
    baseline = run(ids.expand(_ROWS, length).clone())
    for first in range(0, length, _ROWS):
        keys = torch.arange(first, min(first + _ROWS, length))
        for row in others:
            batch = ids.expand(_ROWS, length).clone()
            batch[torch.arange(len(keys)), keys] = row[keys]
            # Row by row, so that only one sequence's outputs are ever widened.
            for key, now, before in zip(keys.tolist(), run(batch), baseline, strict=False):
                effect[:, key] = torch.maximum(effect[:, key], change(now, before).to(effect.device))
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
