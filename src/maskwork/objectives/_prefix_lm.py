"""`PrefixLM`: a prefix is read both ways, and what continues it is predicted from left to right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ..data import IGNORED, Example, PackedRow, Reason, as_tokens
from ..data._packing.tokens import as_count
from ..errors import ArgumentError
from ..masks import causal, prefix
from ._arguments import as_weights, check_rate
from ._batches.batch import Batch
from ._batches.collate import batch_of
from ._random import numpy_generator

Split = int | float | Callable[[np.ndarray], int]


@dataclass(frozen=True)
class PrefixLM:
    """Both ways inside the prefix and causal after it; only the continuation is scored (Raffel et al. 2020, T5).

    The first token of the continuation is predicted at the prefix's last position, which sees the prefix alone. The
    mask of a document is `causal() | prefix(n)`, so that prefixes restart with their document.

    Attributes:
        split: how many tokens are prefix. "random" draws it evenly from 1 to n - 1, so that a document of two tokens
            or more has both; an int is that many; a float in [0, 1] that share of the document, rounded; a function
            is asked with the tokens (n,). More than n means all of them: nothing is then scored. With 0 the first
            token is not predicted, since nothing comes before it.

    Raises:
        ArgumentError: a split is negative or a share above 1, or a random one is drawn without a generator.

    >>> batch = PrefixLM(split=2)([[5, 6, 7, 8], [9, 10, 11]])
    >>> batch.targets.tolist()
    [[-100, 7, 8, -100], [-100, 11, -100, -100]]
    """

    split: Literal["random"] | Split = "random"

    def __post_init__(self) -> None:
        if isinstance(self.split, str) and self.split != "random":
            raise ArgumentError(
                f'split is "random", a number of tokens, a share or a function; found {self.split!r}; pass one of them'
            )
        if isinstance(self.split, float):
            check_rate(self.split, "a float split")
        elif not isinstance(self.split, str) and not callable(self.split):
            _checked(self.split)

    def __call__(self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None) -> Batch:
        """The batch of these packed rows, all of one length, or of these token sequences, padded on the right.

        Args:
            rows: B rows of L tokens.
            generator: read if the split is random.
        """
        return batch_of(lambda tokens: self.example(tokens, generator), rows)

    def example(
        self,
        tokens: Sequence[int] | np.ndarray,
        generator: torch.Generator | None = None,
        *,
        split: int | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Example:
        """One document of n tokens, ready to be packed or padded.

        Args:
            tokens: (n,) token ids.
            generator: read if the split is random; it then moves on by one draw.
            split: this document's own prefix length, if given.
            weights: (n,) floats, how much each *token* counts when it is predicted (at the position before it).
        """
        array = as_tokens(tokens)
        length = len(array)
        given = min(self._length(array, generator) if split is None else _checked(split), length)
        worth = as_weights(weights, length)
        scored = np.zeros(length, dtype=bool)
        scored[max(given - 1, 0) : -1] = True
        reasons = np.where(scored, Reason.SCORED, Reason.CONTEXT).astype(np.uint8)
        reasons[:-1][scored[:-1] & (worth[1:] == 0)] = Reason.ZERO_WEIGHT
        reasons[-1:] = Reason.DOCUMENT_END
        scored = reasons == Reason.SCORED
        targets = np.where(scored, np.roll(array, -1), IGNORED)
        own = np.where(scored, np.roll(worth, -1), np.float32(0))
        return Example(array, targets, own, causal() | prefix(given), reasons)

    def _length(self, tokens: np.ndarray, generator: torch.Generator | None) -> int:
        if self.split == "random":
            random = numpy_generator(generator, "PrefixLM")
            return int(random.integers(1, len(tokens))) if len(tokens) > 1 else len(tokens)
        if callable(self.split):
            return _checked(self.split(tokens))
        return round(self.split * len(tokens)) if isinstance(self.split, float) else _checked(self.split)


def _checked(split: object) -> int:
    if as_count(split) < 0:
        raise ArgumentError(f"a split is a number of tokens, at least 0; found {split!r}; mend what made it")
    return as_count(split)
