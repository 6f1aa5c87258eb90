"""`full_text`: a mask as text that `mw.parse` reads back, its arrays written out however long they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, MaskError
from .. import Mask, parse


def full_text(mask: Mask) -> str:
    """`repr(mask)`, with its arrays in full where that shortens them.

    Raises:
        ArgumentError: the mask holds what no text can carry, such as a function.

    >>> import maskwork as mw
    >>> mask = mw.causal() & mw.document([3] * 40)
    >>> "<int64[40] " in repr(mask), mw.parse(full_text(mask)) == mask
    (True, True)
    """
    for write in (repr, _written):
        try:
            text = write(mask)
            if parse(text) == mask:
                return text
        except MaskError:
            continue
    raise ArgumentError(
        f"the explorer edits a mask as text, {repr(mask)[:80]} has none that can be read back; build it from atoms, or "
        "draw it with mask.bind(…).show()"
    )


_SIGNS = ("&", "|", "^", "~")


def _written(mask: Mask) -> str:
    written = mask._written()
    name, operator = written.name, written.name in _SIGNS or written.name.startswith(".")
    args = [_bracketed(value) if operator else _value(value) for value in written.args]
    named = [f"{key}={_value(value)}" for key, value in written.named.items()]
    if name == "~":
        return f"~{args[0]}"
    if name in _SIGNS:
        return f" {name} ".join(args)
    if operator:
        return f"{args[0]}{name}({', '.join(args[1:] + named)})"
    return f"{name}({', '.join(args + named)})" if args or named else name


def _bracketed(value: Any) -> str:
    joined = isinstance(value, Mask) and value._written().name in _SIGNS
    return f"({_value(value)})" if joined else _value(value)


def _value(value: Any) -> str:
    if isinstance(value, Mask):
        return _written(value)
    if isinstance(value, np.ndarray):
        return str(value.astype(np.int64).tolist())
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
