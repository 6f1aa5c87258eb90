"""Other tokens, or other embeddings, to put in the place of a sequence's own."""

from __future__ import annotations

import itertools
import random
from typing import Any

import torch

from .subject import Subject


def special_tokens(config: Any) -> set[int]:
    """Ids that a configuration gives a meaning of their own (padding, ends, images): a model may count by them."""
    found: set[int] = set()
    for part in (config, getattr(config, "text_config", None)):
        for name, value in vars(part).items() if hasattr(part, "__dict__") else ():
            if name.endswith(("_token_id", "_token_index", "_token_ids")):
                values = value if isinstance(value, (list, tuple)) else [value]
                found |= {v for v in values if isinstance(v, int) and not isinstance(v, bool)}
    return found


def substitutes(subject: Subject, count: int) -> torch.Tensor:
    """`(R, L)` or `(R, L, D)`: at most R sequences that differ from the subject's in every position; always the same.

    Ids come from the sequence itself, so they are valid whatever the vocabulary. Where its size is known, all rows but
    the first deal it out like cards: a leak may fire for one token alone. Embeddings are other positions' with noise.
    """
    inputs = subject.inputs
    if inputs.is_floating_point():
        generator = torch.Generator().manual_seed(0)
        scale = inputs.detach().std().nan_to_num(1.0) + 1e-3
        noise = torch.randn(count, *inputs.shape, generator=generator).to(inputs)
        return inputs.roll(1, 0) + noise * scale
    rng = random.Random(0)
    known = sorted(set(inputs.tolist()))
    size = subject.vocab_size
    special = special_tokens(subject.config)
    wide = [t for t in range(size) if t not in special] if size and size <= 1 << 20 else []
    rows = [[rng.choice([k for k in known if k != token]) for token in inputs.tolist()]]
    deck = wide if len(wide) > 2 else known
    dealt = itertools.cycle(rng.sample(deck, len(deck)))
    rows += [[next(new for new in dealt if new != token) for token in inputs.tolist()] for _ in range(1, count)]
    return torch.tensor(rows, device=inputs.device)
