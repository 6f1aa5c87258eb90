"""`maskwork explain`: what a training step scores, token by token."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._threads import settle_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..data import Tokenizer
    from ..objectives import BatchExplanation, Objective
    from ..training import Experiment


class ObjectiveKind(StrEnum):
    """The objectives that rows can be shown for: causal is what `maskwork train` optimises."""

    CAUSAL = "causal"
    MASKED = "masked"
    PREFIX = "prefix"


def command(
    run: Annotated[Path | None, typer.Argument(help="Run folder, made by maskwork train or demo.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Without a RUN: a text file, or a folder of documents.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="With --data: a recipe (TOML); what it leaves out is built in."),
    ] = None,
    objective: Annotated[
        ObjectiveKind, typer.Option("--objective", help="Score the same rows as another objective would.")
    ] = ObjectiveKind.CAUSAL,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what masked and prefix choose.")] = 0,
    step: Annotated[int, typer.Option("--step", min=1, help="The training step whose rows are shown.")] = 1,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Only this many of the step's rows.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as an HTML page too.")] = None,
    json_path: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write it as JSON too; - prints only that.")
    ] = None,
) -> None:
    """Print the batch that a step trains on: every token with its target, weight, document and the reason.

    The rows are those that training sees: the same text, tokenizer, packing, order and objective. Another
    [bold]--objective[/bold] shows what it would score in them; the mask token is written \\[MASK].

    Example: [bold]maskwork explain runs/demo --rows 1 --html batch.html[/bold]
    """
    settle_threads()
    from ..data import write_atomic
    from ._console import make_console

    explanation = _explained(_experiment(run, data, config), objective, seed, step, rows)
    if html is not None:
        write_atomic(html, explanation.to_html())
    if json_path == "-":
        typer.echo(explanation.to_json())
        return
    if json_path is not None:
        write_atomic(Path(json_path), explanation.to_json() + "\n")
    console = make_console()
    if console.is_terminal:
        console.print(explanation, soft_wrap=False)
    else:  # in a log every line stays one line
        typer.echo(explanation.to_text(console.width), nl=False)


def _experiment(run: Path | None, data: str | None, config: Path | None) -> Experiment:
    from ..data import default_cache_dir
    from ..errors import ArgumentError
    from ..training import DEFAULT_RECIPE, Experiment, Recipe, RunFolder

    if (run is None) == (not data):
        raise ArgumentError(
            f"explain reads a RUN or the text of --data, got {'both' if run else 'neither'}; give one of them"
        )
    if run is None:
        recipe = DEFAULT_RECIPE if config is None else Recipe.from_toml(config)
        return Experiment.prepare(str(data), recipe, cache_dir=default_cache_dir())
    if config is not None:
        raise ArgumentError("a RUN has its own recipe, got --config beside it; leave one of them out")
    folder = RunFolder.open(run)
    experiment = Experiment.prepare(folder.source(), folder.recipe(), cache_dir=default_cache_dir())
    experiment.check(folder)  # the text may have changed since
    return experiment


def _explained(experiment: Experiment, kind: ObjectiveKind, seed: int, step: int, rows: int | None) -> BatchExplanation:
    import torch

    from ..errors import ArgumentError
    from ..objectives import explain_batch
    from ..training import rows_of_step

    # The order of rows is a function of the seed and the step: what a step trained on can be shown without training.
    schedule = experiment.recipe.train
    order = rows_of_step(len(experiment.train_rows), schedule.rows_per_step, schedule.seed, step - 1)
    if rows is not None and rows > len(order):
        raise ArgumentError(f"--rows must be at most the {len(order)} rows of a step, got {rows}; lower it")
    chosen = [experiment.train_rows[index] for index in order[:rows]]
    batch = _objective(experiment, kind)(chosen, torch.Generator().manual_seed(seed))
    tokenizer = _with_mask_token(experiment.tokenizer) if kind is ObjectiveKind.MASKED else experiment.tokenizer
    return explain_batch(batch, tokenizer)


def _objective(experiment: Experiment, kind: ObjectiveKind) -> Objective:
    from ..objectives import MaskedLM, PrefixLM

    if kind is ObjectiveKind.PREFIX:
        return PrefixLM()
    if kind is ObjectiveKind.MASKED:  # the tokenizer has no mask token: one more id stands for it
        size, end = experiment.tokenizer.vocab_size, experiment.tokenizer.end_of_text
        return MaskedLM(mask_token=size, vocab_size=size + 1, special_tokens=(end,))
    return experiment.objective


def _with_mask_token(tokenizer: Tokenizer) -> Callable[[int], str | bytes]:
    def text(token: int) -> str | bytes:
        if token == tokenizer.vocab_size:
            return "[MASK]"
        return "<|endoftext|>" if token == tokenizer.end_of_text else tokenizer.token_bytes(token)

    return text
