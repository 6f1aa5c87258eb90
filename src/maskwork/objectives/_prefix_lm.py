"""`PrefixLM`: a prefix is read both ways, and what continues it is predicted from left to right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from .._shared.numbers import at_least, is_integer
from ..data import IGNORED, Example, PackedRow, Reason, as_tokens
from ..errors import ArgumentError
from ..masks import causal, prefix
from ._arguments import as_weights, numpy_generator, share, store
from ._batches.batch import Batch
from ._batches.collate import batch_of

#: How long a prefix is: a number of tokens, a share of the document, or a function of the tokens.
PrefixLength = int | float | Callable[[np.ndarray], int]


@dataclass(frozen=True)
class PrefixLM:
    """Prefix language modelling: both ways inside the prefix, causal after it (Raffel et al. 2020, T5).

    Only the continuation is scored. Its first token is predicted at the prefix's last position, which sees the prefix
    alone. The mask of a document is `causal() | prefix(n)`, so that prefixes restart with their document.

        tokens    5  6  7  8        split 2: the prefix is 5 6
        targets   -  7  8  -

    Attributes:
        split: how many tokens are prefix. "random" draws the number evenly from 1 to n - 1, so that a document of two
            tokens or more has both parts; an int is that many; a float in [0, 1] that share of the document, rounded;
            a function returns the number from the tokens (n,). More than n means all n: nothing is then scored. With 0
            the first token is not predicted, since nothing comes before it.

    Raises:
        ArgumentError: a split is negative or a share above 1, or a random one is drawn without a generator.

    >>> batch = PrefixLM(split=2)([[5, 6, 7, 8], [9, 10, 11]])
    >>> batch.targets.tolist()
    [[-100, 7, 8, -100], [-100, 11, -100, -100]]
    """

    split: Literal["random"] | PrefixLength = "random"

    def __post_init__(self) -> None:
        if isinstance(self.split, str):
            if self.split != "random":
                raise ArgumentError(
                    f'split must be "random", a number of tokens, a share or a function, got {self.split!r}'
                )
        elif is_integer(self.split):
            store(self, split=at_least(self.split, 0, "split"))
        elif isinstance(self.split, float):
            store(self, split=share(self.split, "a float split"))
        elif not callable(self.split):
            at_least(self.split, 0, "split")  # raises

    def __call__(self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None) -> Batch:
        """Make a batch of packed rows, all of one length, or of token sequences, which are padded on the right.

        Args:
            rows: B rows of L tokens.
            generator: the source of randomness if the split is random.

        Raises:
            ArgumentError: no rows, rows of different lengths, a split that breaks its rule, or no generator.
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
        """Make an example of one document of n tokens, ready to be packed or padded.

        Args:
            tokens: (n,) token ids.
            generator: read if the split is random; it then moves on by one draw.
            split: the prefix length of this document, in place of the objective's split.
            weights: (n,) floats, how much each *token* counts when it is predicted (at the position before it).
        """
        array = as_tokens(tokens)
        length = len(array)
        prefix_length = self._prefix_length(array, generator) if split is None else at_least(split, 0, "split")
        prefix_length = min(prefix_length, length)
        token_weights = as_weights(weights, length)
        # Position i predicts token i + 1: the prefix's last position is the first that is scored.
        scored = np.zeros(length, dtype=bool)
        scored[max(prefix_length - 1, 0) : -1] = True
        reasons = np.where(scored, Reason.SCORED, Reason.CONTEXT).astype(np.uint8)
        reasons[:-1][scored[:-1] & (token_weights[1:] == 0)] = Reason.ZERO_WEIGHT
        reasons[-1:] = Reason.DOCUMENT_END
        scored = reasons == Reason.SCORED
        targets = np.where(scored, np.roll(array, -1), IGNORED)
        out = np.where(scored, np.roll(token_weights, -1), np.float32(0))
        return Example(array, targets, out, causal() | prefix(prefix_length), reasons)

    def _prefix_length(self, tokens: np.ndarray, generator: torch.Generator | None) -> int:
        """Draw, compute or look up the prefix length of a document; it may exceed the document."""
        if isinstance(self.split, str):
            random = numpy_generator(generator, "PrefixLM")
            return int(random.integers(1, len(tokens))) if len(tokens) > 1 else len(tokens)
        if isinstance(self.split, float):
            return round(self.split * len(tokens))
        if isinstance(self.split, int):
            return self.split
        return at_least(self.split(tokens), 0, "split(tokens)")
