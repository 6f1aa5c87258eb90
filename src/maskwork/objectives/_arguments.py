"""Arguments that objectives have in common: token ids, shares, weights, labels and the source of randomness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .._shared.numbers import finite, integer, is_integer
from ..data import IGNORED, Reason
from ..errors import ArgumentError


def store(objective: object, **fields: Any) -> None:
    """Set fields of a frozen dataclass to their checked values; call it in `__post_init__` alone."""
    for name, value in fields.items():
        object.__setattr__(objective, name, value)


def token_id(value: object, name: str) -> int:
    """Return a token id as an `int`, or raise `ArgumentError`."""
    return integer(value, name, minimum=0, maximum=np.iinfo(np.int64).max)  # token ids are stored as int64


def optional_token_id(value: object, name: str) -> int | None:
    """Return a token id as an `int`, and None where there is none."""
    return None if value is None else token_id(value, name)


def share(value: object, name: str) -> float:
    """Return a number in [0, 1] as a `float`, or raise `ArgumentError`."""
    fraction = finite(value, name)
    if not 0 <= fraction <= 1:
        raise ArgumentError(f"{name} is a share, in [0, 1], got {value!r}; write 15 % as 0.15")
    return fraction


def check_absent(tokens: np.ndarray, special: Sequence[int], objective: str) -> None:
    """Raise `ArgumentError` if the document holds tokens with which the objective marks its parts."""
    is_special = np.isin(tokens, np.asarray(special, dtype=np.int64))
    if is_special.any():
        position = int(is_special.argmax())
        raise ArgumentError(
            f"a document must not hold the tokens with which {objective} marks its parts, got {tokens[position]} at "
            f"position {position}; encode its text without special tokens"
        )


def as_weights(weights: Sequence[float] | np.ndarray | None, count: int) -> np.ndarray:
    """Return the weights as float32 (count,), all 1 for None.

    Raises:
        ArgumentError: the weights have another shape, are no numbers, negative or not finite.
    """
    if weights is None:
        return np.ones(count, dtype=np.float32)
    rule = "weights are finite numbers >= 0"
    try:
        array = np.asarray(weights)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that need a gradient
        array = np.empty(0, dtype=object)
    if array.size and array.dtype.kind not in "biuf":
        raise ArgumentError(f"{rule}, got {weights!r:.40}; write 0 for what does not count")
    if array.shape != (count,):
        raise ArgumentError(f"there must be one weight for each of {count}, got shape {array.shape}; align them")
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes inf, which is refused
        array = array.astype(np.float32)
    if count and not (array.min() >= 0 and array.max() < np.inf):  # comparisons that NaN fails
        raise ArgumentError(f"{rule}, got {array.min()} to {array.max()}")
    return array


def as_labels(labels: Sequence[int | None] | np.ndarray, count: int) -> np.ndarray:
    """Return the labels as int64 (count,): each a number >= 0, or -100 where the label is None or -100.

    Raises:
        ArgumentError: another number of labels, or a label that is none.
    """
    rule = "labels are whole numbers >= 0, or None or -100 where there is none"
    try:
        plain = [IGNORED if label is None else label for label in labels]
        array = np.asarray(plain) if plain else np.empty(0, dtype=np.int64)
    except (TypeError, ValueError, RuntimeError):
        plain, array = [], np.empty(0, dtype=object)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ArgumentError(f"{rule}, got {array.dtype}, {array.ndim}-D; number them first")
    # Among integers NumPy silently turns a bool into 0 or 1.
    if not all(is_integer(label) for label in plain):
        raise ArgumentError(f"{rule}, got a bool among them; number them first")
    if len(array) != count:
        raise ArgumentError(f"there must be one label for each of {count}, got {len(array)} labels; align them")
    wrong = np.flatnonzero(((array < 0) & (array != IGNORED)) | (array > np.iinfo(np.int64).max))
    if len(wrong):
        raise ArgumentError(f"{rule}, got {array[wrong[0]]} as label {wrong[0]}")
    return array.astype(np.int64)


def label_reasons(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return a `Reason` for each label, uint8."""
    reasons = np.full(len(labels), Reason.SCORED, dtype=np.uint8)
    reasons[weights == 0] = Reason.ZERO_WEIGHT
    reasons[labels == IGNORED] = Reason.MISSING_LABEL  # the stronger reason: its weight does not matter
    return reasons


def append_end(tokens: np.ndarray, end: int | None) -> np.ndarray:
    """Append the end token, if any."""
    return tokens if end is None else np.append(tokens, end)


def numpy_generator(generator: torch.Generator | None, objective: str) -> np.random.Generator:
    """Return a NumPy generator seeded by one draw of `generator`.

    Raises:
        ArgumentError: there is no generator of torch: every random draw follows from a seed that the caller knows.
    """
    if not isinstance(generator, torch.Generator):
        raise ArgumentError(
            f"{objective} draws random numbers from an explicit generator, got "
            f"{'none' if generator is None else type(generator).__name__}; pass torch.Generator().manual_seed(…)"
        )
    # One draw of torch's for any number of NumPy's, which cost less for small arrays.
    return np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device)))
