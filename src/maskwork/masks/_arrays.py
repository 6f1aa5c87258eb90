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

#: No parameter reaches this, so that sums and differences with positions stay inside int64.
LARGEST = 1 << 62

#: Most numbers that a list of rows may be filled up to.
MAX_CELLS = 1 << 24


def as_int(value: object, name: str, *, minimum: int) -> int:
    """One Python or NumPy integer, checked; a bool is not a number here."""
    is_bool = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    try:
        number = None if is_bool else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # what arrays and tensors raise that are not one integer
        number = None
    if number is None:
        raise MaskError(f"{name} must be an integer, got {value!r:.60} ({type(value).__name__}); pass an int")
    if number < minimum:
        raise MaskError(f"{name} must be at least {minimum}, got {number}; pass a larger one")
    if number >= LARGEST:
        raise MaskError(f"{name} must be below 2**62, got {number}; pass a smaller one")
    return number


def as_ints(value: Any, name: str, *, ndims: tuple[int, ...], minimum: int | None = 0) -> Ints:
    """A read-only int64 array from a list, an array or a tensor.

    A CUDA tensor costs one copy to the host. A list of lists may be ragged: shorter rows are filled with zeros,
    which for lengths means documents of no tokens.
    """
    if getattr(value, "requires_grad", False):
        raise MaskError(f"{name} holds positions, which have no gradient, but the tensor requires one; pass .detach()")
    try:
        if hasattr(value, "detach"):  # a tensor, recognised without importing torch
            value = value.detach().cpu().numpy()
        if isinstance(value, (list, tuple)):
            rows = cast(Sequence[Any], value)
            value = _fill_ragged(rows, name) if rows and all(isinstance(row, (list, tuple)) for row in rows) else rows
        array: npt.NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        if isinstance(error, MaskError):
            raise
        reason = str(error).splitlines()[0]
        raise MaskError(f"{name} must be an array of integers, got {value!r:.60}: {reason}; reshape it") from None
    if array.size == 0 and array.dtype == np.float64:  # what NumPy makes of []
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise MaskError(f"{name} must hold integers, got dtype {array.dtype}; convert it with .astype(int)")
    if array.ndim not in ndims:
        wanted = " or ".join(f"{n}-D" for n in ndims)
        raise MaskError(f"{name} must be {wanted}, got shape {array.shape}; reshape it")
    if array.size and minimum is not None and array.min() < minimum:
        raise MaskError(f"{name} must be at least {minimum}, found {array.min()}; mend the input")
    if array.size and int(array.max()) >= LARGEST:
        raise MaskError(f"{name} must be below 2**62, found {array.max()}; mend the input")
    array = array.astype(np.int64)  # always a copy, so the caller's later writes don't reach the mask
    array.setflags(write=False)
    return array


def as_lengths(value: Any, name: str, *, ndims: tuple[int, ...]) -> Ints:
    """Document lengths `(documents,)` or `(B, documents)`, whose sums are positions."""
    lengths = as_ints(value, name, ndims=ndims)
    if lengths.ndim == 2 and not len(lengths):
        raise MaskError(f"{name} needs at least one batch row, got shape {lengths.shape}; pass one row per sequence")
    # Each below 2**31 first, so that the sums cannot wrap round.
    if lengths.size and (lengths.max() >= 2**31 or lengths.sum(axis=-1).max() >= 2**31):
        raise MaskError(f"{name} must sum to less than 2**31 positions, found more; cut the sequence into shards")
    return lengths


def _fill_ragged(rows: Sequence[Sequence[Any]], name: str) -> Ints:
    width = max(len(row) for row in rows)
    if len(rows) * width > MAX_CELLS:
        raise MaskError(
            f"{name} may hold {MAX_CELLS} numbers once its rows are filled to one width, got {len(rows)} rows of up to "
            f"{width}; pass ids instead, or rows of like width"
        )
    filled = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = [as_int(item, f"each of {name}", minimum=1 - LARGEST) for item in row]
    return filled


def array_key(array: Ints) -> tuple[Any, ...]:
    """A hashable stand-in that is equal exactly when shape and content are."""
    return (array.shape, array.tobytes())


def array_repr(array: Ints) -> str:
    """The numbers where they are few, else dtype, shape and a digest of the content."""
    if array.size <= PRINTED:
        return str(array.tolist())
    shape = "x".join(str(n) for n in array.shape)
    return f"<int64[{shape}] {hashlib.sha256(array.tobytes()).hexdigest()[:8]}>"
