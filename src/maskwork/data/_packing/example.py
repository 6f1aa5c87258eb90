"""`Example`: one document made ready to be packed or padded: its tokens, what is scored in it, what may be seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ...errors import ArgumentError
from ...masks import Mask

#: The target of a position that is not scored: PyTorch's and transformers' convention.
IGNORED = -100


class Reason(IntEnum):
    """Why a position is scored, or why it is not; an objective notes it, `mw.explain_batch` prints it."""

    SCORED = 0
    PADDING = 1
    #: The last token of its document: what follows belongs to another one.
    DOCUMENT_END = 2
    #: Given and not predicted: a prompt, a prefix, a source text.
    CONTEXT = 3
    #: Predicts a token of a message whose role is not trained.
    ROLE_NOT_TRAINED = 4
    #: Predicts markup of a chat template.
    TEMPLATE = 5
    #: Masked-language modelling left the token as it was and does not score it.
    NOT_CHOSEN = 6
    #: A special token, never chosen.
    SPECIAL = 7
    #: Scored, and the model reads the mask token here.
    MASKED = 8
    #: Scored, and the model reads a random token here.
    RANDOM = 9
    #: Scored, and the model reads the token itself.
    KEPT = 10
    #: The data has no label here.
    MISSING_LABEL = 11
    #: The label was taken out on purpose.
    REDACTED = 12
    #: A later piece of a word whose first piece bears the label.
    SUBWORD = 13
    #: Too difficult for this step of the curriculum.
    CURRICULUM = 14
    #: A weight of 0 without another reason.
    ZERO_WEIGHT = 15


@dataclass(frozen=True, eq=False)
class Example:
    """One document of n tokens.

    Attributes:
        tokens: (n,) int64, what the model reads.
        targets: (n,) int64, aligned with the logits that predict them (already shifted); -100 where nothing is scored.
        weights: (n,) float32, how much each target counts; 0 where nothing is scored.
        mask: what may be seen inside the document, whose positions count from 0.
        reasons: (n,) uint8, a `Reason` for each position.

    Raises:
        ArgumentError: an array has another shape or dtype, or a weight is negative or not finite.

    >>> from maskwork.objectives import CausalLM
    >>> example = CausalLM().example([5, 6, 7])
    >>> example.targets.tolist(), [Reason(reason).name for reason in example.reasons]
    ([6, 7, -100], ['SCORED', 'SCORED', 'DOCUMENT_END'])
    """

    tokens: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    mask: Mask
    reasons: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in _ARRAYS.items():
            array: np.ndarray = getattr(self, name)
            if array.ndim != 1 or array.dtype != dtype or len(array) != len(self.tokens):
                raise ArgumentError(
                    f"an example's {name} must be {dtype} of shape (n,) like its tokens {self.tokens.shape}; "
                    f"found {array.dtype} {array.shape}; convert them"
                )
        # Two comparisons that NaN fails; cheaper than isfinite over each of millions of small arrays.
        if len(self.weights) and not (self.weights.min() >= 0 and self.weights.max() < np.inf):
            raise ArgumentError(
                "weights must be finite and at least 0; found others in an example; mend what made them"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def piece(self, start: int, stop: int) -> Example:
        """Positions [start, stop) as an example of their own: each position keeps its target, even the last one.

        The arrays are copies, so that a piece does not hold the whole document in memory.
        """
        mask = self.mask.shift(q=-start, k=-start)
        arrays = self.tokens, self.targets, self.weights, self.reasons
        tokens, targets, weights, reasons = (array[start:stop].copy() for array in arrays)
        return Example(tokens, targets, weights, mask, reasons)


_ARRAYS = {"tokens": np.int64, "targets": np.int64, "weights": np.float32, "reasons": np.uint8}
