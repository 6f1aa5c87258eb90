"""`train`: from rows to weights, repeatable bit for bit, and safe to interrupt at any moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from torch import nn

from ..errors import ArgumentError, RunError
from ..objectives import Curriculum, Objective
from ._config import TrainConfig
from ._progress import TrainResult
from ._run import RunFolder
from ._trainer import OnStep, Trainer, Validate

if TYPE_CHECKING:
    from ..data import PackedRow


def train(
    model: nn.Module,
    rows: Sequence[PackedRow],
    objective: Objective,
    config: TrainConfig,
    *,
    run: RunFolder | None = None,
    validate: Validate | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    curriculum: Curriculum | None = None,
) -> TrainResult:
    """Train `model` in place with AdamW, and leave it in training mode.

    A step's gradient is that of the mean over all scored tokens of its `batch_rows * accumulate` rows, for any cut into
    forward passes. On one machine and number of threads the same model, rows and config give the same weights bit for
    bit, resumed or not: order, dropout and objectives draw from generators seeded by `config.seed` and the step, and
    PyTorch's global generators are left unchanged.

    Ctrl-C finishes the step, saves the run and raises `KeyboardInterrupt`; a second Ctrl-C raises at once, and the last
    checkpoint stays. Any other error between two steps, such as an error of `on_step`, saves the run as well.

    Args:
        model: called as `model(input_ids, mask=..., position_ids=...)`, returns logits (B, L, V).
        rows: packed rows of one length; the rows of a step depend on the seed and the step alone.
        objective: makes a batch of some rows.
        config: how to train.
        run: the folder for checkpoints, metrics and, at the end, weights; None stores nothing.
        validate: called every `config.eval_every` steps and after the last step; its numbers go to the metrics.
        resume: continue from the run's checkpoint (from the start when there is none yet).
        on_step: called after every step.
        curriculum: the share of the scored tokens that each step scores; its measurements go into the checkpoints.

    Raises:
        ArgumentError: no rows, nothing to train, or `resume` without a run.
        RunError: another process trains in the run; the run has begun and `resume` is False; or a loss or gradient is
            not finite (the model then has the weights of the step before, and the last checkpoint stays).
        CheckpointError: the checkpoint is damaged or of a run with another model, data or configuration.

    >>> import torch
    >>> from maskwork.data import pack
    >>> from maskwork.models import ModelConfig, Transformer
    >>> from maskwork.objectives import CausalLM
    >>> _ = torch.manual_seed(0)
    >>> shape = ModelConfig(vocab_size=4, layers=1, width=8, heads=2, kv_heads=1, hidden=16, context=8)
    >>> rows = list(pack([[1, 2, 3, 1, 2, 3]], max_len=8))
    >>> config = TrainConfig(
    ...     steps=30, batch_rows=1, learning_rate=0.1, warmup_steps=3, eval_every=0, save_every=0
    ... )
    >>> result = train(Transformer(shape), rows, CausalLM(), config)
    >>> result.steps, result.tokens, result.loss < 0.5
    (30, 180, True)
    """
    if not rows:
        raise ArgumentError("training needs at least one row, got none; give more text or a smaller context")
    if run is None and resume:
        raise ArgumentError(
            "resuming needs the run to continue, got resume=True without run; pass run=RunFolder.open(path)"
        )
    began = time.perf_counter()
    # Locked before the first look at the folder, so that two processes never both take the run for a new one.
    with nullcontext() if run is None else run.locked():
        if run is not None and not resume and (run.checkpoint_path.exists() or run.metrics_path.exists()):
            raise RunError(
                f"a new training needs a new run, got '{run.path}', which has begun; resume it or give another folder"
            )
        # The trainer reads rows and configuration only; the run's files change first in `resume`.
        trainer = Trainer(model, rows, objective, config, run, validate, on_step, curriculum)
        if resume:
            trainer.resume()
        resumed_from = trainer.step
        trainer.run_to_end()
    return TrainResult(
        steps=trainer.step,
        tokens=trainer.tokens,
        loss=trainer.loss,
        validation=trainer.validation,
        seconds=time.perf_counter() - began,
        resumed_from=resumed_from,
    )
