"""The `maskwork` command: its options, its sub-commands, and how errors leave it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import MaskworkError
from . import audit, demo, explain, explore, generate, show, train

# Each command is a module with one function `command`, whose docstring is its help. They import torch when they run.
app = typer.Typer(
    name="maskwork",
    help="Write the attention mask once: train with it, prove that nothing leaks, stream from it, look at it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.command)
app.command("train")(train.command)
app.command("generate")(generate.command)
app.command("audit")(audit.command)
app.command("show")(show.command)
app.command("explore")(explore.command)
app.command("explain")(explain.command)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"maskwork {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Write the attention mask once: train with it, prove that nothing leaks, stream from it, look at it."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 an audit failed, 2 bad input, 130 interrupted, 141 the reader of the output closed the pipe.
    """
    _prepare_streams()
    try:
        _run()
    except MaskworkError as error:
        _fail(str(error))
    except BrokenPipeError:
        _leave_quietly()
    except OSError as error:
        _fail(
            f"{error.strerror or error}: {error.filename or 'input or output'}; check the path, the rights and the room"
        )


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (open until the process ends)
        # A log or a pipe in an old locale must not turn a block glyph into a crash.
        getattr(sys, name).reconfigure(errors="replace")


def _run() -> None:
    """Run the command; raise `BrokenPipeError` for a broken pipe, also where typer or rich caught it."""
    try:
        app()
    except SystemExit as leaving:
        # typer and rich make it exit code 1, which here says that an audit failed.
        if isinstance(leaving.__context__, BrokenPipeError):
            raise leaving.__context__ from None
        sys.stdout.flush()  # at Python's own exit a broken pipe could no longer be caught
        raise


def _leave_quietly() -> None:
    """Leave with exit code 141, the shell's for SIGPIPE: the reader closed the pipe, as `head` does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())  # so that Python's last flush cannot fail
    sys.exit(141)


def _fail(message: str) -> None:
    # Exit code 1 means that an audit found something; whatever kept a command from running is 2.
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
