"""A figure: what was measured, the goal, and where the offenders are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured figure beside its goal.

    Attributes:
        key: the name that `--list` takes.
        title: what was measured, for the table.
        measured: a number, or words where it isn't one.
        goal: the goal, in words.
        ok: True: the goal is reached.
        details: lines for `--list`: offenders as `file:line: what`, or the parts that were counted.
    """

    key: str
    title: str
    measured: int | float | str
    goal: str
    ok: bool
    details: tuple[str, ...] = ()
