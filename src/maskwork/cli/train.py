"""`maskwork train`: train a decoder on a file or a folder of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._threads import settle_threads


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make, or with --resume to go on with.")],
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="A text file, or a folder in which each file is a document."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A recipe (TOML); what it leaves out is built in.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Train this many steps instead.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of weights and order.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
) -> None:
    """Train a decoder on packed documents; nothing crosses from one document into another.

    Example: [bold]maskwork train --data notes/ --out runs/notes --steps 300[/bold]

    After an interruption, [bold]maskwork train --out runs/notes --resume[/bold] goes on as if nothing had happened.
    """
    settle_threads()
    from ..errors import ArgumentError
    from ..training import DEFAULT_RECIPE, Recipe, RunFolder
    from ._console import make_console
    from ._fit import fit, prepare, print_summary

    if not resume and data is None:
        raise ArgumentError("train needs text to train on, got no --data; give a text file or a folder")
    if data == "":  # Path("") would be the current folder
        raise ArgumentError("--data must name a text file or a folder, got an empty name; '.' is this folder")
    run = RunFolder.open(out) if resume else None
    if run is None:
        RunFolder.check_free(out)  # now, not after a minute of preparation
    if data is not None:
        _check_apart(Path(data), out)
    # A resumed run keeps its own recipe; where another one is given, `fit` refuses it.
    if config is not None:
        recipe = Recipe.from_toml(config)
    else:
        recipe = DEFAULT_RECIPE if run is None else run.recipe()
    recipe = recipe if steps is None else recipe.with_steps(steps)
    recipe = recipe if seed is None else recipe.with_seed(seed)
    # Absolute, so that a resumed run finds its text from wherever it is started.
    source = run.source() if data is None and run is not None else str(Path(data or ".").resolve())

    console = make_console()
    experiment = prepare(console, source, recipe)
    run = run or RunFolder.create(out, experiment.config)
    print_summary(console, fit(console, experiment, run, resume=resume))


def _check_apart(data: Path, out: Path) -> None:
    """Refuse a run folder among the text: its own files would join the corpus, and no resume would find its text."""
    from ..errors import ArgumentError

    text, run = data.resolve(), out.resolve()
    # Hidden files and folders are not read as text.
    if run.is_relative_to(text) and not any(part.startswith(".") for part in run.relative_to(text).parts):
        raise ArgumentError(
            f"--out must lie outside of --data, or the run's files become its text; '{out}' is in '{data}'; "
            "give another --out"
        )
