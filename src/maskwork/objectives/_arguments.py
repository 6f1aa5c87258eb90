"""What the objectives do to their arguments alike: checks of ids, rates and weights, and the end token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data._packing.tokens import as_count
from ..errors import ArgumentError


def check_token(value: object, name: str) -> None:
    """Raise `ArgumentError` unless this is one token id."""
    if as_count(value) < 0:
        raise ArgumentError(f"{name} is a token id, an integer >= 0; found {value!r}; ask the tokenizer for it")


def check_rate(value: float, name: str) -> None:
    """Raise `ArgumentError` unless this is a number in [0, 1]."""
    if not 0 <= value <= 1:
        raise ArgumentError(f"{name} is a share, in [0, 1]; found {value!r}; write 15 % as 0.15")


def check_absent(tokens: np.ndarray, special: Sequence[int], objective: str) -> None:
    """Raise `ArgumentError` if the document holds tokens with which the objective marks its parts."""
    found = np.isin(tokens, np.asarray(special, dtype=np.int64))
    if found.any():
        place = int(found.argmax())
        raise ArgumentError(
            f"a document must not hold the tokens with which {objective} marks its parts; found {tokens[place]} at "
            f"position {place}; encode its text without special tokens"
        )


def as_weights(weights: Sequence[float] | np.ndarray | None, count: int) -> np.ndarray:
    """float32 (count,), all 1 if there are none. Raises `ArgumentError` on other shapes, negative ones and NaN."""
    if weights is None:
        return np.ones(count, dtype=np.float32)
    rule = "weights are finite numbers >= 0"
    try:
        array = np.asarray(weights, dtype=np.float32)
    except (TypeError, ValueError):
        raise ArgumentError(f"{rule}; found {weights!r:.40}; write 0 for what does not count") from None
    if array.shape != (count,):
        raise ArgumentError(f"there must be one weight for each of {count}; found shape {array.shape}; align them")
    if count and not (array.min() >= 0 and array.max() < np.inf):  # comparisons that NaN fails
        raise ArgumentError(f"{rule}; found {array.min()} to {array.max()}; mend what made them")
    return array


def ended(tokens: np.ndarray, end: int | None) -> np.ndarray:
    """The tokens with this one after them, if there is one."""
    return tokens if end is None else np.append(tokens, end)
