"""`maskwork audit`: does a model honour its mask?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..proof import Report


def command(
    target: Annotated[
        str,
        typer.Argument(
            help="Run folder, Hugging Face model folder, hub id or class name, or package.module:callable.",
            metavar="MODEL",
        ),
    ],
    expect: Annotated[
        str | None,
        typer.Option("--expect", help="Mask of every layer, as text; the model's own masks, or causal, if left out."),
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option("--checks", help="Some of mask,padding,packing,cache,batch,determinism; else the first five."),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option("--layers", min=1, help="Layers through which influence may spread; counted if left out."),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option("--length", "-n", min=4, max=512, help="Tokens of the sequence audited; 64, or the context."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the tokens, and of random weights.")] = 0,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="Hugging Face: random weights, none are loaded.")
    ] = False,
    shrink: Annotated[
        bool, typer.Option("--tiny", help="Hugging Face: the configuration shrunk, with random weights.")
    ] = False,
    json_path: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - prints it instead.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the report as JUnit XML.")
    ] = None,
) -> None:
    """Prove that a model honours its mask. Exit code 0: clean, 1: findings, 2: cannot run.

    Every module that mixes positions is judged one step, the whole model against the mask's reach; padding, packing,
    the cache and the batch may change nothing. On a CPU, in seconds.

    Example: [bold]maskwork audit runs/demo[/bold]
    """
    report = _report(target, expect, checks, layers, length, seed, random_init, shrink)
    if json_path == "-":
        typer.echo(report.to_json())
    else:
        typer.echo(str(report))
        if json_path is not None:
            Path(json_path).write_text(report.to_json() + "\n", encoding="utf-8")
    if junit is not None:
        junit.write_text(report.to_junit(f"maskwork audit {target}"), encoding="utf-8")
    # A check that could not run is no finding, and no proof either: exit code 2, unless another one found something.
    if not report.ok:
        has_findings = any(state in ("leak", "warning") for state in report.checks.values())
        raise typer.Exit(1 if has_findings else 2)


def _report(
    target: str,
    expect: str | None,
    checks: str | None,
    layers: int | None,
    length: int | None,
    seed: int,
    random_init: bool,
    shrink: bool,
) -> Report:
    from ..errors import ArgumentError
    from ..masks import parse
    from ..proof import USUAL_CHECKS, audit
    from ._targets import load_target, tokens_for

    # Options are checked before anything is loaded, which may take minutes.
    mask = None if expect is None else parse(expect)
    opened = load_target(target, random_init=random_init, shrink=shrink, seed=seed)
    # On standard error: standard output may be the report as JSON.
    for note in opened.notes:
        typer.echo(f"note: {note}", err=True)
    context = opened.context
    if context is not None and context < 4:
        raise ArgumentError(
            f"an audit needs a sequence of 4 tokens, got a model whose context is {context}; train one with more"
        )
    # The work grows with the square of the length. 64 tokens are enough unless a window is wider.
    length = min(64, context or 64) if length is None else length
    if context is not None and length > context:
        raise ArgumentError(f"--length must be at most the model's context of {context}, got {length}; lower it")
    chosen = USUAL_CHECKS if checks is None else tuple(part.strip() for part in checks.split(","))
    ids = tokens_for(opened, length, seed)
    depth = "auto" if layers is None else layers
    # No mask at all leaves the choice to `audit`: causal(), or for an encoder-decoder model one for each sequence.
    expected = opened.masks_at(length) or None if mask is None else mask
    return audit(opened.model, ids, expected, checks=chosen, layers=depth)
