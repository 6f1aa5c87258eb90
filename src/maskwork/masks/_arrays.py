"""Array parameters of masks, integers or flags: accepted widely, kept immutable, compared by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from .._shared.numbers import integer, is_bool
from .._shared.text import first_line, short_repr
from ..errors import MaskError
from ..spans import Ints

Bools = npt.NDArray[np.bool_]
A = TypeVar("A", Ints, Bools)

#: An array of at most this many numbers prints in full, a longer one as its shape and a digest.
PRINTED = 16

#: No parameter lies beyond it: sums and differences with positions then stay within int64.
LARGEST = 1 << 62

#: Most numbers that a list of rows may be filled up to.
MAX_CELLS = 1 << 24


def as_int(value: object, name: str, *, minimum: int, maximum: int = LARGEST) -> int:
    """Return one integer parameter of a mask as an `int`, by the package's rule for integers."""
    return integer(value, name, minimum=minimum, maximum=maximum, error=MaskError)


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
    """Return a read-only int64 array made from a list, an array or a tensor.

    A CUDA tensor costs one copy to the host.

    Args:
        value: the caller's parameter. A list of lists may be ragged.
        name: how messages call the parameter.
        ndims: accepted numbers of dimensions. Of two, the larger one has an axis of batch rows.
        minimum: the smallest number that is accepted, None = no bound.
        fill: what shorter rows of a ragged list are filled up with; 0, for lengths, means documents of no tokens.
        squeeze: drop the axis of batch rows where it has one row, so that equal masks are made of equal arrays.
        hint: the advice for a value of too many dimensions.
    """
    if isinstance(value, (list, tuple)):
        rows = cast(Sequence[Any], value)
        # Lists in lists of lists are one array: only rows may be ragged.
        ragged = max(ndims) == 2 and rows and all(isinstance(row, (list, tuple)) for row in rows)
        # NumPy would turn a bool among integers into 0 or 1.
        flag = next((item for item in rows if type(item) is not int and is_bool(item)), None)
        if flag is not None:
            raise MaskError(f"{name} must hold integers, got {flag!r} among them; pass flags to mw.real")
        value = _fill_ragged(rows, name, fill) if ragged else rows
    array = as_array(value, name, "integers", ndims, hint)
    if array.dtype.kind not in "iu":
        fix = "convert it with .astype(int)" if array.dtype.kind in "bf" else "write them as whole numbers"
        raise MaskError(f"{name} must hold integers, got dtype {array.dtype}; {fix}")
    low = -LARGEST if minimum is None else minimum
    if array.size and array.min() < low:
        raise MaskError(f"{name} must be at least {low}, got {array.min()}{_place(array, array.argmin())}")
    if array.size and array.max() > LARGEST:
        raise MaskError(f"{name} must be at most {LARGEST}, got {array.max()}{_place(array, array.argmax())}")
    array = _rows(array, name, ndims if squeeze else (array.ndim,))
    # Always a copy, so that the caller's later writes don't reach the mask.
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def as_bools(value: Any, name: str, *, ndims: tuple[int, ...], hint: str = "") -> Bools:
    """Return a read-only bool array made from a list, an array or a tensor of bool or of the integers 0 and 1.

    A CUDA tensor costs one copy to the host.
    """
    array = as_array(value, name, "flags", ndims, hint)
    if array.dtype.kind not in "biu" or (array.dtype.kind != "b" and array.size and not np.isin(array, (0, 1)).all()):
        fault, fix = _not_flags(array)
        raise MaskError(f"{name} must hold bool, or the integers 0 and 1, got {fault}; {fix}")
    array = _rows(array, name, ndims).astype(np.bool_)
    array.setflags(write=False)
    return array


def _not_flags(array: npt.NDArray[Any]) -> tuple[str, str]:
    """Return what an array holds that has other numbers than 0 and 1, and the advice for it."""
    if array.dtype.kind not in "iu":
        one = array.dtype.kind == "f" and bool(np.isin(array, (0, 1)).all())
        fix = "pass `array == 1`" if one else "pass a comparison that is True where it is marked"
        return f"dtype {array.dtype}", fix
    low, high = int(array.min()), int(array.max())
    fault = f"values up to {high}" if low >= 0 else f"values from {low} to {high}"
    # Numbers of sequences in a packed row: to keep only that of 1, or to see them all as one, would be wrong.
    if low >= 0 and len(np.unique(array)) > 1 + (0 in array):
        return fault, "numbers of sequences keep documents apart: pass mw.document(ids=array - 1), 0 = padding"
    if low < 0:
        return fault, "ids of documents keep them apart: pass mw.document(ids=array), below 0 = padding"
    return fault, "pass `array != 0`"


def as_lengths(value: Any, name: str, *, ndims: tuple[int, ...] = (1, 2)) -> Ints:
    """Return lengths laid end to end, `(documents,)` or `(B, documents)`, and check that their sums are positions."""
    lengths = as_ints(value, name, ndims=ndims)
    # float64 is exact far beyond the limit, where int64 might wrap round.
    total = np.atleast_2d(lengths).sum(axis=1, dtype=np.float64).max()
    if total >= 2**31:
        raise MaskError(f"{name} must sum to less than 2**31 positions, got {total:.0f}; cut the sequence into shards")
    return lengths


def batch_of(array: Ints | Bools, ndim: int = 1) -> int:
    """Return the batch rows of a parameter: 1 where it has `ndim` dimensions, and so no axis of batch rows."""
    return 1 if array.ndim == ndim else len(array)


def batch_row(array: A, b: int) -> A:
    """Return the parameter of batch row `b`, `(T,)`: one without an axis of batch rows is the same for all."""
    return array if array.ndim == 1 else array[b]


def _rows(array: npt.NDArray[Any], name: str, ndims: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the array without its axis of batch rows where that axis has one row."""
    if array.ndim > 1 and not len(array):
        raise MaskError(f"{name} must have at least one row, got shape {array.shape}; pass one for each batch row")
    return array.reshape(array.shape[1:]) if array.ndim > min(ndims) and len(array) == 1 else array


def _place(array: npt.NDArray[Any], index: np.intp) -> str:
    """Return where in a message's array the number stands that breaks a rule; nothing for a single number."""
    position = ", ".join(str(int(i)) for i in np.unravel_index(index, array.shape))
    return f" at [{position}]" if position else ""


def as_array(value: Any, name: str, kind: str, ndims: tuple[int, ...], hint: str = "") -> npt.NDArray[Any]:
    """Return a list, an array or a tensor as a NumPy array of one of these numbers of dimensions, of any dtype."""
    if getattr(value, "requires_grad", False):
        raise MaskError(f"{name} holds {kind}, which have no gradient, but the tensor requires one; pass .detach()")
    try:
        # A tensor is recognised without importing torch.
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        array: npt.NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        reason = first_line(error).rstrip(".")
        raise MaskError(f"{name} must be an array of {kind}, got {short_repr(value)}: {reason}; reshape it") from None
    # NumPy makes float64 of an empty list.
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(np.int64)
    if array.ndim not in ndims:
        shapes = " or ".join(f"{n}-D" if n else "a number" for n in ndims)
        fix = (hint or "reshape it") if array.ndim > max(ndims) else "reshape it" if array.ndim else "pass a list"
        raise MaskError(f"{name} must be {shapes}, got shape {array.shape}; {fix}")
    return array


def _fill_ragged(rows: Sequence[Sequence[Any]], name: str, fill: int) -> Ints:
    """Return rows of unlike lengths as one array, each filled up to the longest with `fill`."""
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
    """Return a hashable stand-in that is equal exactly when dtype, shape and content are."""
    return (array.dtype.char, array.shape, array.tobytes())


def array_text(array: Ints | Bools) -> str:
    """Return all numbers as nested lists, flags as 0 and 1."""
    return str(array.astype(np.int64).tolist())


def array_repr(array: Ints | Bools) -> str:
    """Return the numbers where they are few, else dtype, shape and a digest of the content."""
    if array.size <= PRINTED:
        return array_text(array)
    shape = "x".join(str(n) for n in array.shape)
    return f"<{array.dtype.name}[{shape}] {hashlib.sha256(array.tobytes()).hexdigest()[:8]}>"
