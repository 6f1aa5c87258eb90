"""`maskwork show`: draw a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    mask: Annotated[str, typer.Argument(help='The mask, such as "causal & sliding_window(8)".')],
    length: Annotated[int, typer.Option("--length", "-n", min=1, help="Number of positions.")] = 32,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write an SVG picture to this file as well.")] = None,
    width: Annotated[int | None, typer.Option("--width", min=24, help="Columns; the terminal's when left out.")] = None,
) -> None:
    """Draw a mask in the terminal, exact at any length.

    Example: [bold]maskwork show "causal & sliding_window(8)" --length 32 --svg mask.svg[/bold]
    """
    from ..data import write_atomic
    from ..masks import parse

    bound = parse(mask).bind(length)
    bound.show(width)
    if svg is not None:
        write_atomic(svg, bound.svg())
        typer.echo(f"wrote {svg}")
