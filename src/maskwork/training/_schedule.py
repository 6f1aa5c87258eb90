"""The schedule of the learning rate, a pure function of the step: linear warm-up, then half a cosine."""

from __future__ import annotations

import math

from .._shared.numbers import at_least
from ._config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of step `step`, counted from 0.

    The warm-up rises in equal parts and never starts at 0; the step after the warm-up has the peak, and the last step
    exactly `learning_rate * min_learning_rate_ratio`. The decay is SGDR's cosine (Loshchilov & Hutter,
    arXiv:1608.03983), without restarts.

    Raises:
        ArgumentError: `step` is not an integer of at least 0.

    >>> config = TrainConfig(
    ...     steps=5, batch_rows=1, learning_rate=1.0, warmup_steps=2, eval_every=0, save_every=0
    ... )
    >>> [round(learning_rate(step, config), 3) for step in range(5)]
    [0.333, 0.667, 1.0, 0.55, 0.1]
    """
    step = at_least(step, 0, "step")
    peak, lowest = config.learning_rate, config.learning_rate * config.min_learning_rate_ratio
    if step < config.warmup_steps:
        return peak * (step + 1) / (config.warmup_steps + 1)
    decay_steps = config.steps - 1 - config.warmup_steps
    # From 0 at the peak to 1 at the last step; a run without a decay stays at the peak.
    progress = min((step - config.warmup_steps) / decay_steps, 1.0) if decay_steps > 0 else 0.0
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))
