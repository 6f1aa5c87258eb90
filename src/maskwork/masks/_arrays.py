"""Integer array parameters of masks: accepted widely, kept immutable, compared by content."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..errors import MaskError

Ints = npt.NDArray[np.int64]

#: An array of at most this many numbers prints in full, a longer one as its shape and a digest.
PRINTED = 16


def as_int(value: object, name: str, *, minimum: int) -> int:
    """One Python or NumPy integer, checked; a bool is not a number here."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise MaskError(f"{name} must be an integer, got {value!r} ({type(value).__name__}); pass an int")
    number = operator.index(value)  # type: ignore[arg-type]
    if number < minimum:
        raise MaskError(f"{name} must be at least {minimum}, got {number}; pass a larger one")
    return number


def as_ints(value: Any, name: str, *, ndims: tuple[int, ...], minimum: int | None = 0) -> Ints:
    """A read-only int64 array from a list, an array or a tensor.

    A CUDA tensor costs one copy to the host. A list of lists may be ragged: shorter rows are filled with zeros,
    which for lengths means documents of no tokens.
    """
    if getattr(value, "requires_grad", False):
        raise MaskError(f"{name} holds positions, which have no gradient, but the tensor requires one; pass .detach()")
    if hasattr(value, "detach"):  # a tensor, recognised without importing torch
        value = value.detach().cpu().numpy()
    if isinstance(value, (list, tuple)):
        rows = cast(Sequence[Any], value)
        value = _fill_ragged(rows, name) if rows and all(isinstance(row, (list, tuple)) for row in rows) else rows
    try:
        array: npt.NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise MaskError(f"{name} must be an array of integers, got {value!r:.60}: {error}; reshape it") from None
    if array.size == 0 and array.dtype == np.float64:  # what NumPy makes of []
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise MaskError(f"{name} must hold integers, got dtype {array.dtype}; convert it with .astype(int)")
    if array.ndim not in ndims:
        wanted = " or ".join(f"{n}-D" for n in ndims)
        raise MaskError(f"{name} must be {wanted}, got shape {array.shape}; reshape it")
    if minimum is not None and array.size and array.min() < minimum:
        raise MaskError(f"{name} must be at least {minimum}, found {array.min()}; mend the input")
    array = array.astype(np.int64)  # always a copy, so the caller's later writes don't reach the mask
    array.setflags(write=False)
    return array


def _fill_ragged(rows: Sequence[Sequence[Any]], name: str) -> Ints:
    width = max(len(row) for row in rows)
    for row in rows:
        for item in row:
            as_int(item, f"each of {name}", minimum=-(2**62))
    return np.array([[*row, *[0] * (width - len(row))] for row in rows], dtype=np.int64)


def array_key(array: Ints) -> tuple[Any, ...]:
    """A hashable stand-in that is equal exactly when shape and content are."""
    return (array.shape, array.tobytes())


def array_repr(array: Ints) -> str:
    """The numbers where they are few, else dtype, shape and a digest of the content."""
    if array.size <= PRINTED:
        return str(array.tolist())
    shape = "x".join(str(n) for n in array.shape)
    return f"<int64[{shape}] {hashlib.sha256(array.tobytes()).hexdigest()[:8]}>"
