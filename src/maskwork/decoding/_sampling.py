"""`Sampling` and `sample`: the choice of the next token from the logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .._shared.numbers import at_least, between, finite
from ..errors import ArgumentError


@dataclass(frozen=True)
class Sampling:
    """The parameters of a choice: greedy by default; with a temperature, random among what top-k and top-p leave.

    Attributes:
        temperature: the divisor of the logits; 0 is greedy.
        top_k: how many of the likeliest tokens may be chosen; None = all.
        top_p: the chance that the choosable tokens must reach together, above 0 and at most 1; None = all tokens.
        seed: of the random choice, from 0 to 2**63 - 1.

    Raises:
        ArgumentError: a parameter is out of its range or of another type.

    Temperature divides the logits first; top-k (Fan et al. 2018) keeps the k likeliest tokens; top-p (Holtzman et
    al. 2020) keeps the smallest set of likeliest tokens whose chances, renormalised after top-k, add up to p.

    >>> from maskwork.decoding import Sampling
    >>> Sampling(temperature=0.8, top_k=50, seed=1).greedy
    False
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        temperature = finite(self.temperature, "temperature")
        if temperature < 0:
            raise ArgumentError(f"temperature must be at least 0, got {temperature}; 0 is greedy")
        object.__setattr__(self, "temperature", temperature)
        if self.top_k is not None:
            object.__setattr__(self, "top_k", at_least(self.top_k, 1, "top_k"))
        if self.top_p is not None:
            top_p = finite(self.top_p, "top_p")
            if not 0.0 < top_p <= 1.0:
                raise ArgumentError(f"top_p must be above 0 and at most 1, got {top_p}; 1 allows every token")
            object.__setattr__(self, "top_p", top_p)
        object.__setattr__(self, "seed", between(self.seed, 0, 2**63 - 1, "seed"))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0.0


def sample(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> torch.Tensor:
    """Choose one token per batch row: `(B, V)` -> int64 `(B,)`.

    >>> import torch
    >>> from maskwork.decoding import Sampling, sample
    >>> sample(torch.tensor([[0.0, 2.0, 1.0]]), Sampling())
    tensor([1])

    Raises:
        ArgumentError: the largest logit of a row is not finite, so that no token is the likeliest.
    """
    largest = logits.amax(-1, keepdim=True)  # NaN when any is
    if not largest.isfinite().all():
        values = ", ".join(sorted({str(value) for value in largest[~largest.isfinite()].tolist()}))
        raise ArgumentError(
            f"sampling needs logits whose largest is finite in each row, got {values}; the weights are damaged, or "
            "every token is forbidden"
        )
    if sampling.greedy:
        return logits.argmax(-1)
    # float64, so that a cut at top_p falls where the exact sums put it; less the maximum, so that a tiny temperature
    # approaches greedy instead of dividing up to inf - inf
    scores = logits.double() - largest.double()
    scores, order = (scores / sampling.temperature).sort(stable=True, dim=-1, descending=True)
    if sampling.top_k is not None:
        scores[..., sampling.top_k :] = -math.inf
    chances = scores.softmax(-1)
    if sampling.top_p is not None:
        # A token stays when the tokens before it have not reached p yet; so the first always stays.
        before = chances.cumsum(-1) - chances
        chances = chances.masked_fill(before >= sampling.top_p, 0.0)
    pick = torch.multinomial(chances, 1, generator=generator)
    return order.gather(-1, pick).squeeze(-1)
