"""Text for one-line messages: the beginning of a value, and the first line of an error of another library."""

from __future__ import annotations


def short_repr(value: object) -> str:
    """Return the first 60 characters of a value's repr, on one line.

    >>> short_repr([1, 2]), len(short_repr("x" * 100))
    ('[1, 2]', 60)
    """
    return " ".join(f"{value!r:.60}".split())


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its type where the message is empty.

    >>> first_line(ValueError("no such file\\n  in folder")), first_line(ValueError())
    ('no such file', 'ValueError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]
