"""Text for one-line messages: the beginning of a value, and the first line of an error of another library."""

from __future__ import annotations


def short_repr(value: object) -> str:
    """Return the first 60 characters of a value's repr, on one line.

    >>> short_repr([1, 2]), len(short_repr("x" * 100))
    ('[1, 2]', 60)
    """
    return " ".join(f"{value!r:.60}".split())


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, with the second where the first ends in a colon; else its type.

    transformers' checks of a configuration name the field on the first line and the problem on the second.

    >>> first_line(ValueError("no such file\\n  in folder")), first_line(ValueError())
    ('no such file', 'ValueError')
    >>> first_line(ValueError("Validation error for field 'sliding_window':\\n    expected int, got str"))
    "Validation error for field 'sliding_window': expected int, got str"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
