"""`Written`: a mask as the call that makes it, from which its identity, text, JSON and pickle all follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from .._arrays import Bools, Ints, array_key, array_repr


@dataclass(frozen=True)
class Written:
    """`name(*args, **named)`, where `name` is one of `MAKERS`, or of `OPERATORS` (see `_registry`).

    An argument is an int, a str, None, a read-only int64 or bool array, a mask, a tuple of masks, or a function.
    Equal masks are written alike: what has several spellings is brought to one before it gets here.
    """

    name: str
    args: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def key(self) -> tuple[Any, ...]:
        """Hashable, and equal for equal masks."""
        return (self.name, *map(_key, self.args), *((name, _key(value)) for name, value in self.named.items()))

    def text(self) -> str:
        """What `mw.parse` reads back when no array was shortened."""
        parts = [*map(_text, self.args), *(f"{name}={_text(value)}" for name, value in self.named.items())]
        return f"{self.name}({', '.join(parts)})" if parts else self.name


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return array_key(cast("Ints | Bools", value))
    if isinstance(value, tuple):
        return tuple(map(_key, cast("tuple[Any, ...]", value)))
    if value is None or isinstance(value, (int, str)) or callable(value):
        return value
    return value._key


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return array_repr(cast("Ints | Bools", value))
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, cast("tuple[Any, ...]", value))) + "]"
    if value is None or isinstance(value, (int, str)):
        return repr(value)
    if callable(value):
        return f"<function {getattr(value, '__name__', '?')}>"
    return value._shown
