"""`maskwork show`: draw a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    mask: Annotated[str, typer.Argument(help='The mask, such as "causal & sliding_window(8)".')],
    length: Annotated[
        int,
        typer.Option(
            "--length", "-n", min=1, help="Number of positions; what the mask's own lengths sum to, where it has any."
        ),
    ] = 32,
    row: Annotated[int, typer.Option("--row", min=0, help="Batch row to draw, where rows differ.")] = 0,
    head: Annotated[int, typer.Option("--head", min=0, help="Head to draw, where heads differ.")] = 0,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write an SVG picture to this file as well.")] = None,
    width: Annotated[int | None, typer.Option("--width", min=24, help="Columns; the terminal's when left out.")] = None,
) -> None:
    """Draw a mask in the terminal, exact at any length.

    Example: [bold]maskwork show "causal & sliding_window(8)" --length 32 --svg mask.svg[/bold]
    """
    from ..data import write_atomic
    from ..masks import parse

    bound = parse(mask).bind(length)
    bound.show(width, b=row, h=head)
    if svg is not None:
        write_atomic(svg, bound.svg(b=row, h=head))
        typer.echo(f"wrote {svg}")
