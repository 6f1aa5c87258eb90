"""`as_tokens`: one example of token ids, checked; `as_count`: one integer."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from ...errors import ArgumentError


def as_tokens(example: Sequence[int] | np.ndarray, index: int = 0) -> np.ndarray:
    """The example as an int64 array (n,) of its own.

    Never a view: examples wait in buffers while a reader may fill the array that it gave with the next one.

    Args:
        example: token ids, integers >= 0, in anything that NumPy reads; none at all are an empty array.
        index: which example it is, for the error.

    Raises:
        ArgumentError: it is not flat, holds no integers, a negative one, or one beyond 64 bits.

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
        found = f"{type(example).__name__} of {tokens.dtype}, {tokens.ndim}-D"
        mend = "encode text with a Tokenizer first" if tokens.dtype.kind in "US" else "pass a list of such sequences"
        raise ArgumentError(f"{rule}; found {found} as example {index}; {mend}")
    if tokens.min() < 0 or int(tokens.max()) > np.iinfo(np.int64).max:
        found = int(tokens.min()) if tokens.min() < 0 else int(tokens.max())
        raise ArgumentError(f"{rule}, that fit 64 bits; found {found} in example {index}; correct it")
    return tokens.astype(np.int64, copy=not isinstance(example, list | tuple))


def as_count(value: object) -> int:
    """The value as an integer, -1 for what is none (a bool is none)."""
    try:
        return -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return -1
