"""Examples, of which packed rows are made: bare token ids, or an `Example` that says what is scored and seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..._shared.numbers import between, is_bool
from ...errors import ArgumentError
from ...masks import Mask

#: The target of a position that is not scored: PyTorch's and transformers' convention.
IGNORED = -100


class Reason(IntEnum):
    """The reason why a position is scored or not: set by an objective, printed by `mw.explain_batch`."""

    SCORED = 0
    PADDING = 1
    #: The last token of its document: what follows belongs to another one.
    DOCUMENT_END = 2
    #: Read and not predicted: a prompt, a prefix, a source text.
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
    """One document of n tokens, made ready to be packed or padded.

    Attributes:
        tokens: (n,) int64, what the model reads.
        targets: (n,) int64, aligned with the logits that predict them (already shifted); -100 where nothing is scored.
        weights: (n,) float32, how much each target counts; 0 where nothing is scored.
        mask: what may be seen inside the document, whose positions count from 0.
        reasons: (n,) uint8, a `Reason` for each position.

    Raises:
        ArgumentError: an array has another shape or dtype; a weight is negative or not finite.

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
                    f"an example's {name} must be {dtype} of shape (n,) like its tokens {self.tokens.shape}, "
                    f"got {array.dtype} {array.shape}; convert them"
                )
        # Two comparisons that NaN fails; cheaper than isfinite over each of millions of small arrays.
        if len(self.weights) and not (self.weights.min() >= 0 and self.weights.max() < np.inf):
            raise ArgumentError(
                "weights must be finite and at least 0, got an example with weights from "
                f"{self.weights.min():g} to {self.weights.max():g}"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def piece(self, start: int, stop: int) -> Example:
        """Return positions [start, stop) as an example: each position keeps its target, even the last one.

        The arrays are copies, so that a piece does not hold the whole document in memory.

        Raises:
            ArgumentError: `start` or `stop` is not an integer within the example.
        """
        start = between(start, 0, len(self), "start")
        stop = between(stop, start, len(self), "stop")
        # Positions count from 0 in the piece, so the mask moves along the diagonal by `start`.
        mask = self.mask.shift(q=-start, k=-start)
        arrays = self.tokens, self.targets, self.weights, self.reasons
        tokens, targets, weights, reasons = (array[start:stop].copy() for array in arrays)
        return Example(tokens, targets, weights, mask, reasons)


#: The type of nearly all ids of a list; others are looked at one by one.
_PLAIN = frozenset((int,))

_ARRAYS = {"tokens": np.int64, "targets": np.int64, "weights": np.float32, "reasons": np.uint8}


def as_tokens(example: Sequence[int] | np.ndarray, index: int = 0) -> np.ndarray:
    """Return the example as a new int64 array (n,).

    The array is never a view: examples wait in buffers while a reader may fill the array that it gave with the next
    example.

    Args:
        example: token ids, integers >= 0, in anything that NumPy reads; no ids at all are an empty array.
        index: the number of the example, for the error.

    Raises:
        ArgumentError: the example is not flat, holds no integers, a negative one, or one beyond 64 bits.

    >>> as_tokens([5, 6]).dtype, as_tokens([]).shape
    (dtype('int64'), (0,))
    """
    rule = "an example is a flat sequence of token ids, integers >= 0"
    try:
        tokens = np.asarray(example)
    except (ValueError, TypeError, OverflowError):
        tokens = np.empty(0, dtype=object)
    if tokens.ndim == 1 and tokens.size == 0 and tokens.dtype != object:
        return tokens.astype(np.int64)  # an empty list has no type of its own (NumPy calls it float)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.dtype.itemsize > 8:
        kind = f"{type(example).__name__} of {tokens.dtype}, {tokens.ndim}-D"
        fix = "encode text with a Tokenizer first" if tokens.dtype.kind in "US" else "pass a list of such sequences"
        raise ArgumentError(f"{rule}, got {kind} as example {index}; {fix}")
    if isinstance(example, list | tuple) and not _PLAIN.issuperset(map(type, example)):
        # Among integers NumPy silently turns a bool into 0 or 1.
        flag = next((item for item in example if is_bool(item)), None)
        if flag is not None:
            raise ArgumentError(f"{rule}, got {flag!r} among those of example {index}; pass ids, not flags")
    if tokens.min() < 0 or int(tokens.max()) > np.iinfo(np.int64).max:
        token = int(tokens.min()) if tokens.min() < 0 else int(tokens.max())
        raise ArgumentError(f"{rule}, that fit 64 bits, got {token} in example {index}; correct the id")
    return tokens.astype(np.int64, copy=not isinstance(example, list | tuple))
