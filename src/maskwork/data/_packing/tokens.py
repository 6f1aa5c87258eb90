"""`as_count`, until `objectives` checks integers by `_shared.numbers`."""

from __future__ import annotations

import operator


def as_count(value: object) -> int:
    """Return the value as an integer, -1 for another type (a bool is another type)."""
    try:
        return -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return -1
