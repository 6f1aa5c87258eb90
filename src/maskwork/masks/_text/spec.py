"""`Spec`: a constructor's name and arguments. Identity, text, JSON and pickle of a mask are derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from ...errors import MaskError
from .._arrays import Bools, Ints, array_key, array_repr, array_text
from .registry import make

#: How a text writes arrays: long ones as a digest, or all of them in full.
Arrays = Literal["short", "full"]

#: How tightly each operator binds, as in Python; an operand that binds less tightly is put in brackets.
LEVELS = {"|": 1, "^": 2, "&": 3, "~": 5}
#: The level of everything else: atoms, calls and `.shift`.
TIGHTEST = 9

#: The most characters of a text that `mw.parse` reads, and so the most that a full text may have.
MAX_TEXT = 100_000


class Expression:
    """The base of `Mask`: a value that is equal to another, prints and pickles as its spec says."""

    #: How tightly the outermost operator of the text binds.
    _level: int = TIGHTEST

    def _spec(self) -> Spec:
        """Return the constructor and its arguments. Equal masks have equal specs."""
        raise MaskError(
            f"a mask is written as a call of a known atom, a {type(self).__name__} is not made by one; keep the mask "
            "that it came from"
        )

    def _identity(self) -> tuple[Any, ...]:
        """Return a hashable tuple that is equal for equal masks."""
        return self._spec().key()

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        """`_identity`, computed once, because it copies the arrays."""
        return self._identity()

    def _write(self, arrays: Arrays) -> str:
        """Return the text form. A mask that no text can carry raises `MaskError` for `arrays="full"`."""
        return self._spec().text(arrays)

    @cached_property
    def _short_text(self) -> str:
        """The text form with long arrays as digests. Cached, because every composite asks for it."""
        return self._write("short")

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Expression) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self._short_text

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling imports the registry, and with it the package of masks, where all atoms register.
        spec = self._spec()
        return make, (spec.name, spec.args, dict(spec.keywords))


@dataclass(frozen=True)
class Spec:
    """The call `name(*args, **keywords)` that makes a mask. Several spellings of equal masks have one spec.

    Attributes:
        name: the name of an atom or operator that the registry knows.
        args: positional arguments: int, str, None, read-only int64 or bool arrays, masks, tuples of these, a function.
        keywords: keyword arguments, of the same types.
    """

    name: str
    args: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def key(self) -> tuple[Any, ...]:
        """Return a hashable tuple that is equal for equal specs."""
        return (self.name, *map(_key, self.args), *((name, _key(value)) for name, value in self.keywords.items()))

    def text(self, arrays: Arrays) -> str:
        """Return the call as `mw.parse` reads it; with `arrays="short"`, a long array is a digest instead."""
        if self.name in LEVELS:
            level = LEVELS[self.name]
            # Canonical operands are never of the operator itself, so that equal levels need no brackets.
            operands = [bracketed(operand, level, arrays) for operand in self.args]
            return f"~{operands[0]}" if self.name == "~" else f" {self.name} ".join(operands)
        # A method such as `.shift` stands behind its first argument, an atom in front of all.
        is_method = self.name.startswith(".")
        target = bracketed(self.args[0], TIGHTEST, arrays) if is_method else ""
        parts = [_text(value, arrays) for value in self.args[is_method:]]
        parts += [f"{name}={_text(value, arrays)}" for name, value in self.keywords.items()]
        return f"{target}{self.name}({', '.join(parts)})" if parts else f"{target}{self.name}"


def bracketed(operand: Expression, level: int, arrays: Arrays) -> str:
    """Return the text of an operand under an operator that binds at `level`."""
    text = _text(operand, arrays)
    return f"({text})" if operand._level < level else text


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return array_key(cast("Ints | Bools", value))
    if isinstance(value, tuple):
        return tuple(map(_key, cast("tuple[Any, ...]", value)))
    return value._key if isinstance(value, Expression) else value


def _text(value: Any, arrays: Arrays) -> str:
    if isinstance(value, np.ndarray):
        array = cast("Ints | Bools", value)
        if arrays == "short":
            return array_repr(array)
        # Each number takes at least three characters (`1, `): refuse before a huge list of them is made.
        if array.size > MAX_TEXT // 3:
            raise MaskError(
                f"a mask's text may have {MAX_TEXT} characters, got an array of {array.size} numbers, which has none "
                "that can be read back; use to_json"
            )
        return array_text(array)
    # The grammar has lists and no tuples; a maker takes either.
    if isinstance(value, tuple):
        return f"[{', '.join(_text(item, arrays) for item in cast('tuple[Any, ...]', value))}]"
    if isinstance(value, Expression):
        return value._short_text if arrays == "short" else value._write(arrays)
    return repr(value)
