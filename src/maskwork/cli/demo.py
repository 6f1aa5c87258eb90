"""`maskwork demo`: the whole path on text that every Python carries, in about four minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._threads import settle_threads

if TYPE_CHECKING:
    from rich.console import Console

    from ..proof import Report
    from ._fit import Fitted

PROMPTS = ("def read_", "class Base", "import os\n")


def command(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder; the first free of runs/demo, runs/demo-2, …"),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Train this many steps instead.")] = None,
) -> None:
    """Train a small model on the Python standard library, prove that it leaks nothing, and stream from it.

    Nothing is downloaded: the text is the source of the Python that runs this. About four minutes on two CPU cores.

    Example: [bold]maskwork demo[/bold]
    """
    settle_threads()
    from ..training import DEFAULT_RECIPE, STANDARD_LIBRARY, RunFolder
    from ._console import make_console
    from ._fit import fit, prepare, print_summary

    # The demo may be run again, beside what it left before.
    out = _first_free(Path("runs/demo")) if out is None else out
    RunFolder.check_free(out)
    console = make_console()
    recipe = DEFAULT_RECIPE if steps is None else DEFAULT_RECIPE.with_steps(steps)
    experiment = prepare(console, STANDARD_LIBRARY, recipe)
    fitted = fit(console, experiment, RunFolder.create(out, experiment.config), resume=False)
    report = _audit(console, fitted)
    _stream(console, fitted)
    print_summary(console, fitted)
    console.print(
        "next:\n"
        f'  maskwork generate {out} --prompt "def write_" --stream --temperature 0.7 --top-p 0.9\n'
        f"  maskwork audit {out}\n"
        '  maskwork show "causal & (sliding_window(8) | sinks(2))" --length 32\n'
        "  maskwork train --data YOUR_FOLDER --out runs/mine"
    )
    if not report.ok:
        raise typer.Exit(1)


def _first_free(path: Path) -> Path:
    number = 1
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _audit(console: Console, fitted: Fitted) -> Report:
    """Audit the model on real text: the first tokens of a validation document."""
    import torch

    from ..proof import audit

    experiment = fitted.experiment
    longest = max(experiment.corpus.validation, key=lambda document: len(document.content))
    ids = torch.tensor(experiment.tokenizer.encode_document(longest.text)[:64])
    report = audit(fitted.model, ids, fitted.model.mask)
    console.print(f"\n{report}", markup=False)
    return report


def _stream(console: Console, fitted: Fitted) -> None:
    """Print three sampled completions to read, then time greedy ones with and without the cache: the same tokens."""
    from ..decoding import Sampling
    from ._completion import complete, encode_prompt, write_now
    from ._console import table

    tokenizer = fitted.experiment.tokenizer
    speeds = table("Decoding 200 greedy tokens", "prompt", "tokens/s with cache", "without", "same tokens")
    for prompt in PROMPTS:
        tokens = encode_prompt(tokenizer, prompt)
        console.rule(f"completion of {prompt!r}", align="left")
        write_now(prompt)
        # Sampled, because a model this small repeats itself when it is greedy.
        sampling = Sampling(temperature=0.7, top_p=0.9, seed=1)
        complete(fitted.model, tokenizer, tokens, max_tokens=100, sampling=sampling, emit=write_now)
        write_now("\n")
        cached = complete(fitted.model, tokenizer, tokens, max_tokens=200, sampling=Sampling())
        plain = complete(fitted.model, tokenizer, tokens, max_tokens=200, sampling=Sampling(), use_cache=False)
        speeds.add_row(
            repr(prompt),
            f"{cached.tokens_per_second:.0f}",
            f"{plain.tokens_per_second:.0f}",
            f"{'yes' if cached.tokens == plain.tokens else 'NO'}, {len(cached.tokens)}",
        )
    console.print(speeds)
