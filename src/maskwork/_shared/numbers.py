"""The one rule for numbers in the whole package: Python's and NumPy's are accepted, bool is refused.

An integer is an integer: a float is refused even where it has no fraction. Each guard returns Python's own type, so
that what is stored, printed and written to JSON is one type:

    layers = at_least(layers, 1, "layers")
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import SupportsFloat, SupportsIndex, TypeGuard

from ..errors import ArgumentError, MaskworkError
from .text import short_repr

#: The largest size that a grid, a block or a side of a tensor may have: beyond, products leave 64 bits.
LARGEST_SIZE = 2**31 - 1


def is_bool(value: object) -> bool:
    """Return whether `value` is a bool of Python, NumPy or torch, or an array of them.

    >>> import numpy as np
    >>> is_bool(True), is_bool(np.bool_(True)), is_bool(1)
    (True, True, False)
    """
    # bool is a subclass of int; NumPy's and torch's bools are recognised by their dtype, without importing torch
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def is_integer(value: object) -> TypeGuard[SupportsIndex]:
    """Return whether `value` is one integer: an `int`, a NumPy integer, or an integer tensor of one element.

    >>> import numpy as np
    >>> is_integer(3), is_integer(np.int64(3)), is_integer(True), is_integer(3.0)
    (True, True, False, False)
    """
    if type(value) is int:  # nearly every call
        return True
    if is_bool(value):
        return False
    try:
        operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # what arrays and tensors raise that are not one integer
        return False
    return True


def is_number(value: object) -> TypeGuard[SupportsFloat]:
    """Return whether `value` is one real number: an integer (see `is_integer`), or a float of Python or NumPy.

    >>> import numpy as np
    >>> is_number(0.5), is_number(np.float32(0.5)), is_number(2), is_number(True), is_number("0.5")
    (True, True, True, False, False)
    """
    return is_integer(value) or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def integer(
    value: object,
    name: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    error: type[MaskworkError] = ArgumentError,
) -> int:
    """Return `value` as an `int` within `[minimum, maximum]`.

    Args:
        value: what the caller passed.
        name: how the caller knows the argument; the message begins with it.
        minimum: the smallest integer that is accepted, None = no bound.
        maximum: the largest, None = no bound.
        error: the type that is raised.

    Raises:
        MaskworkError: of the type `error`, where `value` breaks the rule.

    >>> integer(7, "layers", minimum=1)
    7
    >>> integer(2.5, "layers", minimum=1)
    Traceback (most recent call last):
    ...
    maskwork.errors.ArgumentError: layers must be an integer, got 2.5 (float); pass an int
    """
    if not is_integer(value):
        raise error(f"{name} must be an integer, got {short_repr(value)} ({type(value).__name__}); pass an int")
    number = operator.index(value)
    if minimum is not None and number < minimum:
        raise error(f"{name} must be at least {minimum}, got {_digits(number)}")
    if maximum is not None and number > maximum:
        raise error(f"{name} must be at most {maximum}, got {_digits(number)}")
    return number


def at_least(value: object, minimum: int, name: str, *, error: type[MaskworkError] = ArgumentError) -> int:
    """Return `value` as an `int` of at least `minimum`.

    >>> at_least(0, 1, "layers")
    Traceback (most recent call last):
    ...
    maskwork.errors.ArgumentError: layers must be at least 1, got 0
    """
    if type(value) is int and value >= minimum:  # nearly every call: packing checks each document's length
        return value
    return integer(value, name, minimum=minimum, error=error)


def side(value: object, minimum: int, name: str, *, error: type[MaskworkError] = ArgumentError) -> int:
    """Return the side of a tensor, a block or a grid as an `int` of at least `minimum` and at most `LARGEST_SIZE`.

    >>> side(2**70, 1, "width")
    Traceback (most recent call last):
    ...
    maskwork.errors.ArgumentError: width must be at most 2147483647, got an integer of 71 bits
    """
    return integer(value, name, minimum=minimum, maximum=LARGEST_SIZE, error=error)


def between(value: object, low: int, high: int, name: str, *, error: type[MaskworkError] = ArgumentError) -> int:
    """Return `value` as an `int` within `[low, high]`, both ends included.

    >>> between(65_537, 1, 65_535, "port")
    Traceback (most recent call last):
    ...
    maskwork.errors.ArgumentError: port must be an integer from 1 to 65535, got 65537
    """
    if not is_integer(value):
        return integer(value, name, error=error)
    number = operator.index(value)
    if not low <= number <= high:
        raise error(f"{name} must be an integer from {low} to {high}, got {_digits(number)}")
    return number


def finite(value: object, name: str, *, error: type[MaskworkError] = ArgumentError) -> float:
    """Return the real number `value` as a `float`, which is finite.

    >>> finite(float("nan"), "clip")
    Traceback (most recent call last):
    ...
    maskwork.errors.ArgumentError: clip must be finite, got nan
    """
    if not is_number(value):
        got = f"{short_repr(value)} ({type(value).__name__})"
        raise error(f"{name} must be a number, got {got}; pass a float or an int")
    # NumPy's float32 and Python's Fraction become the nearest float.
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the largest float
        number = math.inf
    if not math.isfinite(number):
        raise error(f"{name} must be finite, got {number}")
    return number


def _digits(number: int) -> str:
    """Return the number as text; Python refuses to print the longest integers."""
    return str(number) if number.bit_length() <= 64 else f"an integer of {number.bit_length()} bits"
