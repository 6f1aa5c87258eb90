"""What the commands print with: a console that stays readable in a log, and a table that needs no colour."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table


def make_console() -> Console:
    """Return a console on standard output; it prints no colour codes and no moving parts where that is no terminal."""
    console = Console(highlight=False)
    # Words wrap in a terminal; in a log every message stays one line, which is easier to search.
    console.soft_wrap = not console.is_terminal
    return console


def table(title: str, *columns: str) -> Table:
    """Return an empty table; every column but the first is aligned right."""
    out = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        out.add_column(column, justify="left" if i == 0 else "right")
    return out


def duration(seconds: float) -> str:
    """Format as "1 min 15 s".

    >>> duration(75.2), duration(9.84)
    ('1 min 15 s', '9.8 s')
    """
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes else f"{seconds:.1f} s"
