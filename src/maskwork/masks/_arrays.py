"""Array parameters of masks, integers or flags: accepted widely, kept immutable, compared by content."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..errors import MaskError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: An array of at most this many numbers prints in full, a longer one as its shape and a digest.
PRINTED = 16

#: No parameter lies beyond it: sums and differences with positions then stay within int64.
LARGEST = 1 << 62


#: Most numbers that a list of rows may be filled up to.
MAX_CELLS = 1 << 24


def as_int(value: object, name: str, *, minimum: int, maximum: int = LARGEST) -> int:
    """One Python or NumPy integer, checked; a bool is not a number here."""
    is_bool = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    try:
        number = None if is_bool else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # what arrays and tensors raise that are not one integer
        number = None
    if number is None:
        raise MaskError(f"{name} must be an integer, got {value!r:.60} ({type(value).__name__}); pass an int")
    # Python refuses to print the longest integers
    shown = number if number.bit_length() < 64 else f"a number of {number.bit_length()} bits"
    if number < minimum:
        raise MaskError(f"{name} must be at least {minimum}, got {shown}; pass a larger one")
    if number > maximum:
        raise MaskError(f"{name} must be at most {maximum}, got {shown}; pass a smaller one")
    return number


def as_ints(
    value: Any,
    name: str,
    *,
    ndims: tuple[int, ...],
    minimum: int | None = 0,
    fill: int = 0,
    squeeze: bool = True,
    hint: str = "",
) -> Ints:
    """A read-only int64 array from a list, an array or a tensor.

    A CUDA tensor costs one copy to the host. A list of lists may be ragged: shorter rows are filled up with `fill`; 0,
    for lengths, means documents of no tokens. Of two `ndims` the larger has a row for each batch row: one row alone
    loses that axis (unless `squeeze` is False), so that equal masks are made of equal arrays. `hint` says what a value
    of too many dimensions may have been meant for.
    """
    if isinstance(value, (list, tuple)):
        rows = cast(Sequence[Any], value)
        ragged = rows and all(isinstance(row, (list, tuple)) for row in rows)
        value = _fill_ragged(rows, name, fill) if ragged else rows
    array = as_array(value, name, "integers", ndims, hint)
    if array.dtype.kind not in "iu":
        mend = "convert it with .astype(int)" if array.dtype.kind in "bf" else "write them as whole numbers"
        raise MaskError(f"{name} must hold integers, got dtype {array.dtype}; {mend}")
    low = -LARGEST if minimum is None else minimum
    if array.size and array.min() < low:
        raise MaskError(f"{name} must be at least {low}, found {array.min()}{_place(array, array.argmin())}")
    if array.size and array.max() > LARGEST:
        raise MaskError(f"{name} must be at most {LARGEST}, found {array.max()}{_place(array, array.argmax())}")
    array = _rows(array, name, ndims if squeeze else (array.ndim,))
    array = array.astype(np.int64)  # always a copy, so the caller's later writes don't reach the mask
    array.setflags(write=False)
    return array


def as_bools(value: Any, name: str, *, ndims: tuple[int, ...], hint: str = "") -> Bools:
    """A read-only bool array from a list, an array or a tensor of bool or of the integers 0 and 1.

    A CUDA tensor costs one copy to the host.
    """
    array = as_array(value, name, "flags", ndims, hint)
    if array.dtype.kind not in "biu" or (array.dtype.kind != "b" and array.size and not np.isin(array, (0, 1)).all()):
        found = f"dtype {array.dtype}" if array.dtype.kind not in "biu" else f"values up to {array.max()}"
        raise MaskError(
            f"{name} must hold bool, or the integers 0 and 1, got {found}; pass `array == 1`, or what marks it"
        )
    array = _rows(array, name, ndims).astype(np.bool_)
    array.setflags(write=False)
    return array


def as_lengths(value: Any, name: str, *, ndims: tuple[int, ...] = (1, 2)) -> Ints:
    """Lengths laid end to end, `(documents,)` or `(B, documents)`, whose sums are positions."""
    lengths = as_ints(value, name, ndims=ndims)
    # float64 is exact far beyond the limit, where int64 might wrap round
    total = np.atleast_2d(lengths).sum(axis=1, dtype=np.float64).max()
    if total >= 2**31:
        raise MaskError(f"{name} must sum to less than 2**31 positions, got {total:.0f}; cut the sequence into shards")
    return lengths


def _rows(array: npt.NDArray[Any], name: str, ndims: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array without its axis of batch rows, where that has only one."""
    if array.ndim > 1 and not len(array):
        raise MaskError(f"{name} must have at least one row, got shape {array.shape}; pass one for each batch row")
    return array.reshape(array.shape[1:]) if array.ndim > min(ndims) and len(array) == 1 else array


def _place(array: npt.NDArray[Any], index: np.intp) -> str:
    """Where the number stands that breaks a rule, and what to do about it."""
    at = ", ".join(str(int(i)) for i in np.unravel_index(index, array.shape))
    return f" at [{at}]; mend that one" if at else "; pass another"


def as_array(value: Any, name: str, kind: str, ndims: tuple[int, ...], hint: str = "") -> npt.NDArray[Any]:
    """A list, an array or a tensor as NumPy's, of one of these numbers of dimensions; the dtype is not looked at."""
    if getattr(value, "requires_grad", False):
        raise MaskError(f"{name} holds {kind}, which have no gradient, but the tensor requires one; pass .detach()")
    try:
        if hasattr(value, "detach"):  # a tensor, recognised without importing torch
            value = value.detach().cpu().numpy()
        array: npt.NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        found, reason = " ".join(repr(value).split()), str(error).splitlines()[0].rstrip(".")
        raise MaskError(f"{name} must be an array of {kind}, got {found:.60}: {reason}; reshape it") from None
    if array.size == 0 and array.dtype == np.float64:  # what NumPy makes of []
        array = array.astype(np.int64)
    if array.ndim not in ndims:
        wanted = " or ".join(f"{n}-D" if n else "a number" for n in ndims)
        mend = (hint or "reshape it") if array.ndim > max(ndims) else "reshape it" if array.ndim else "pass a list"
        raise MaskError(f"{name} must be {wanted}, got shape {array.shape}; {mend}")
    return array


def _fill_ragged(rows: Sequence[Sequence[Any]], name: str, fill: int) -> Ints:
    width = max(len(row) for row in rows)
    if len(rows) * width > MAX_CELLS:
        raise MaskError(
            f"{name} may hold {MAX_CELLS} numbers once its rows are filled to one width, got {len(rows)} rows of up to "
            f"{width}; pass rows of like width"
        )
    filled = np.full((len(rows), width), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = [as_int(item, f"each of {name}", minimum=-LARGEST) for item in row]
    return filled


def array_key(array: Ints | Bools) -> tuple[Any, ...]:
    """A hashable stand-in that is equal exactly when dtype, shape and content are."""
    return (array.dtype.char, array.shape, array.tobytes())


def array_repr(array: Ints | Bools) -> str:
    """The numbers where they are few (flags as 0 and 1), else dtype, shape and a digest of the content."""
    if array.size <= PRINTED:
        return str(array.astype(np.int64).tolist())
    shape = "x".join(str(n) for n in array.shape)
    return f"<{array.dtype.name}[{shape}] {hashlib.sha256(array.tobytes()).hexdigest()[:8]}>"
