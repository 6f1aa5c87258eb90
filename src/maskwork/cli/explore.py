"""`maskwork explore`: the explorer in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import ArgumentError


def command(
    mask: Annotated[str | None, typer.Argument(help='The mask to begin with, such as "causal & sinks(4)".')] = None,
    length: Annotated[int | None, typer.Option("--length", "-n", min=1, max=1 << 20, help="Positions.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """See any mask at any length, and why: a page in the browser, served by this machine.

    Example: [bold]maskwork explore "causal & (sliding_window(4096) | sinks(4))" --length 131072[/bold]
    """
    from ..masks import parse

    if mask is not None:
        parse(mask)  # a mistake is reported here, with its caret, before anything is opened
    try:
        from ..explorer import serve
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"the explorer needs starlette and uvicorn; {error.name} is not installed; pip install 'maskwork[explore]'"
        ) from None

    def ready(address: str) -> None:
        typer.echo(f"maskwork explorer at {address}\nCtrl+C ends it")

    serve(mask=mask, length=length, host=host, port=port, open_browser=browser, ready=ready)
