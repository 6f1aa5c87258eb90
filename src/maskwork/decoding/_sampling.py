"""`Sampling`: how the next token is chosen from the logits."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import torch

from ..errors import ArgumentError


@dataclass(frozen=True)
class Sampling:
    """Greedy by default; with a temperature, random among the tokens that top-k and top-p leave.

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
        if not (_is(float, self.temperature) and 0 <= self.temperature <= sys.float_info.max):
            raise ArgumentError(f"temperature must be a number of at least 0 (0 is greedy), got {self.temperature!r}")
        if self.top_k is not None and not (_is(int, self.top_k) and self.top_k >= 1):
            raise ArgumentError(
                f"top_k must be an integer of at least 1, got {self.top_k!r}; leave it out to keep every token"
            )
        if self.top_p is not None and not (_is(float, self.top_p) and 0.0 < self.top_p <= 1.0):
            raise ArgumentError(
                f"top_p must be above 0 and at most 1, got {self.top_p!r}; leave it out to keep every token"
            )
        if not (_is(int, self.seed) and 0 <= self.seed < 2**63):
            raise ArgumentError(f"seed must be an integer in [0, 2**63), got {self.seed!r}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0.0


def _is(kind: type, value: object) -> bool:
    """An integer is a number too; True is neither."""
    return isinstance(value, (int, kind)) and not isinstance(value, bool)


def sample(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> torch.Tensor:
    """Choose one token per row: `(B, V)` -> int64 `(B,)`.

    >>> import torch
    >>> from maskwork.decoding import Sampling, sample
    >>> sample(torch.tensor([[0.0, 2.0, 1.0]]), Sampling())
    tensor([1])

    Raises:
        ArgumentError: the largest logit of a row is not finite, so that no token is the likeliest.
    """
    largest = logits.amax(-1, keepdim=True)  # NaN when any is
    if not largest.isfinite().all():
        found = ", ".join(sorted({str(value) for value in largest[~largest.isfinite()].tolist()}))
        raise ArgumentError(
            f"sampling needs logits whose largest is finite in each row, got {found}; the model's weights are spoilt, "
            "or every token is forbidden"
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
