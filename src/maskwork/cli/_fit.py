"""What `demo` and `train` share: from a corpus to a trained run folder, printed step by step, and the final table."""

from __future__ import annotations

import time
from dataclasses import dataclass

import typer
from rich.console import Console

from ..data import compressed_bits_per_byte, default_cache_dir, write_atomic
from ..masks import BoundMask, within
from ..models import Transformer
from ..training import Experiment, Recipe, RunFolder, TrainResult
from ._console import duration, table
from ._loss_curve import draw_loss_curve
from ._progress import TrainingProgress


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained run and its figures.

    Attributes:
        run: the run folder.
        experiment: corpus, tokenizer and recipe.
        model: the trained model.
        result: steps, tokens and seconds of the training.
        bits_per_byte: the model's and each compressor's, on the same validation bytes.
    """

    run: RunFolder
    experiment: Experiment
    model: Transformer
    result: TrainResult
    bits_per_byte: dict[str, float]


def prepare(console: Console, source: str, recipe: Recipe) -> Experiment:
    """Return corpus, tokenizer and rows, and print their sizes."""
    began = time.perf_counter()
    experiment = Experiment.prepare(source, recipe, cache_dir=default_cache_dir())
    corpus = experiment.corpus
    facts = table(f"Corpus: {corpus.name}", "side", "documents", "bytes", "packed rows")
    for name, documents, rows in (
        ("train", corpus.train, experiment.train_rows),
        ("validation", corpus.validation, experiment.validation_rows),
    ):
        facts.add_row(name, f"{len(documents):,}", f"{sum(len(d.content) for d in documents):,}", f"{len(rows):,}")
    console.print(facts)
    console.print(
        f"left out: {corpus.not_utf8} files that are not UTF-8 text, {corpus.duplicates} duplicates; "
        f"byte-level BPE of {experiment.tokenizer.vocab_size:,} tokens, rows of {recipe.model.context} tokens, "
        f"ready after {duration(time.perf_counter() - began)}"
    )
    return experiment


def fit(console: Console, experiment: Experiment, run: RunFolder, *, resume: bool) -> Fitted:
    """Train, validate on everything, and leave tokenizer, metrics, weights and pictures in the run folder."""
    experiment.check(run)  # before anything in the folder is touched
    # Tokenizer and picture come first: an interrupted run is then a folder that `generate` and `audit` can read.
    config, schedule = experiment.recipe.model, experiment.recipe.train
    experiment.tokenizer.save(run.tokenizer_path)
    write_atomic(run.path / "mask.svg", _mask_of_one_row(experiment).svg())
    parameters = sum(p.numel() for p in experiment.new_model().parameters())
    console.print(
        f"model: {parameters / 1e6:.2f} M parameters, {config.layers} layers of width {config.width}, "
        f"{config.heads} query and {config.kv_heads} key heads; "
        f"mask: within({config.mask}, lengths), positions restarted per document"
    )
    console.print(
        f"training: {schedule.steps} steps of {schedule.rows_per_step} rows, seed {schedule.seed}; "
        "Ctrl-C saves and stops"
    )
    try:
        with TrainingProgress(console) as progress:
            model, result = experiment.fit(run, resume=resume, on_step=progress)
    except KeyboardInterrupt:
        saved = "the run is saved, go on" if run.checkpoint_path.exists() else "nothing was saved yet, start over"
        console.print(f"interrupted; {saved} with: maskwork train --out {run.path} --resume", markup=False)
        raise typer.Exit(130) from None
    # During training a sample of the validation side was enough; the result is over all of it, as the compressors' is.
    console.print("validating on every byte of the validation side")
    scores = experiment.validate(model)
    bits = {"maskwork": scores["bits_per_byte"], **compressed_bits_per_byte(experiment.corpus.validation)}
    if not any("final" in record for record in run.metrics()):  # a finished run may be resumed again
        run.log({"step": result.steps, "final": scores})
    draw_loss_curve(console, run.metrics(), bits, run.path / "loss.png")
    return Fitted(run, experiment, model, result, bits)


def print_summary(console: Console, fitted: Fitted) -> None:
    """Print bits per byte on the same validation bytes, and where everything lies."""
    result = fitted.result
    scores = table("Validation, bits per byte (lower is better)", "what", "bits per byte")
    for name, bits in sorted(fitted.bits_per_byte.items(), key=lambda item: item[1]):
        scores.add_row(name, f"{bits:.3f}")
    console.print(scores)
    console.print(
        f"{result.steps} steps, {result.tokens:,} tokens in {duration(result.seconds)}"
        + (f" (resumed at step {result.resumed_from})" if result.resumed_from else "")
    )
    run = fitted.run.path
    console.print(f"run folder {run}: {', '.join(sorted(path.name for path in run.iterdir()))}")


def _mask_of_one_row(experiment: Experiment) -> BoundMask:
    """Return the mask of one packed row: the first of 3 to 6 documents, if there is one, since it shows something."""
    rows = experiment.train_rows
    row = next((row for row in rows if 3 <= len(row.lengths) <= 6), rows[0])
    return within(experiment.objective.mask, list(row.lengths)).bind(len(row.tokens))
