"""`Trainer`: the steps of one run, each done completely or not at all.

A step, and the run that it is part of:

    rows_of_step -> objective -> [forward, backward] x accumulate -> clip -> AdamW -> line of metrics
    validate if due -> step -> validate if due -> save if due -> on_step -> step -> ...
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..errors import CheckpointError, RunError
from ..objectives import Batch, Curriculum, Objective, masked_cross_entropy
from ._checkpoint import Progress, load_checkpoint, save_checkpoint
from ._config import TrainConfig
from ._curriculum import CurriculumState
from ._evaluate import device_of
from ._interrupt import Interrupts
from ._optimizer import make_optimizer
from ._progress import Speed, StepReport
from ._repeat import RowOrder, run_identity, seeded
from ._run import RunFolder
from ._schedule import learning_rate

if TYPE_CHECKING:
    from ..data import PackedRow

#: Computes the numbers of a validation, by name.
Validate = Callable[[nn.Module], dict[str, float]]
#: Receives the report of each step.
OnStep = Callable[[StepReport], None]


class Trainer:
    """The state of one call of `train`: `model` and `optimizer` stand just after step number `step`.

    Attributes:
        step: how many steps are done.
        saved_step: the step of the last checkpoint.
        validated_step: the step of the last validation.
        tokens: tokens read, padding not counted.
        step_complete: False while a step is being done, so that a half-done step is never saved.
        loss: the last step's mean loss; None before the first.
        validation: the numbers of the last validation; None before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: Sequence[PackedRow],
        objective: Objective,
        config: TrainConfig,
        run: RunFolder | None,
        validate: Validate | None,
        on_step: OnStep | None,
        curriculum: Curriculum | None = None,
    ) -> None:
        self.model, self.rows, self.objective, self.config = model, rows, objective, config
        self.run, self.validate, self.on_step = run, validate, on_step
        self.optimizer = make_optimizer(model, config)
        self.device = device_of(model)
        self.identity = run_identity(rows, objective, config, run, curriculum) if run else {}
        self.order = RowOrder(len(rows), config.rows_per_step, config.seed)
        self.curriculum = CurriculumState(curriculum)
        self.step = self.saved_step = self.validated_step = self.tokens = 0
        self.step_complete = True
        self.loss: float | None = None
        self.validation: dict[str, float] | None = None
        self.speed, self.validation_seconds = Speed(), 0.0

    def resume(self) -> None:
        """Continue from the run's checkpoint, if there is one, and delete the metrics after it."""
        assert self.run is not None
        if self.run.checkpoint_path.exists():
            progress = load_checkpoint(self.run.checkpoint_path, self.model, self.optimizer, identity=self.identity)
            # The checkpoint's step is the first that is not done: steps count from 0, and so many are done.
            self.step = self.saved_step = progress.step
            self.tokens = progress.tokens
            self.curriculum.load(progress.state)
        # Lines beyond the checkpoint are written again. A validation of the last step may be among those that stay.
        self.run.truncate_metrics(self.step)
        for record in self.run.metrics():
            if isinstance(record.get("validation"), dict):
                self.validated_step, self.validation = record["step"], record["validation"]

    def run_to_end(self) -> None:
        """Take all steps that are left; whatever ends them early, save the steps that are done."""
        self.model.train()
        with Interrupts() as interrupts:
            try:
                # A run that ended between a step and its validation resumes here.
                self.validate_if_due(interrupts)
                while self.step < self.config.steps:
                    report = self.take_step()
                    interrupts.check()
                    self.validate_if_due(interrupts)
                    if self.due(self.config.save_every):
                        self.save()
                    if self.on_step:
                        left = self.seconds_left()
                        self.on_step(dataclasses.replace(report, validation=self.validation, seconds_left=left))
                    interrupts.check()
                self.finish()
                interrupts.check()
            except KeyboardInterrupt:
                if self.step_complete:
                    self.save()
                raise
            except BaseException:  # a broken pipe, a full disk, an error of on_step: the steps done are not lost
                if self.step_complete:
                    # Should saving fail too, the first error is the one to raise.
                    with contextlib.suppress(CheckpointError, OSError):
                        self.save()
                raise

    def take_step(self) -> StepReport:
        """Take one complete step: the update and its line of metrics."""
        began = time.perf_counter()
        self.step_complete = False
        config, rate = self.config, learning_rate(self.step, self.config)
        with seeded(config.seed, self.step, self.device) as generator:
            batches = self.batches(generator)
            loss, norm = self.backward(batches)
        # Checked before the update: the weights are still those of the step before.
        if not (math.isfinite(loss) and math.isfinite(norm)):
            checkpoint = (
                f"the checkpoint is of step {self.saved_step}" if self.saved_step else "there is no checkpoint yet"
            )
            raise RunError(
                f"training needs finite losses and gradients, got loss {loss:g} and gradient norm {norm:g} in step "
                f"{self.step + 1} at learning rate {rate:.3g} ({checkpoint}); lower learning_rate or raise warmup_steps"
            )
        tokens = sum(int((batch.document_ids >= 0).sum()) for batch in batches)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.curriculum.end_step()
        self.step, self.tokens, self.loss = self.step + 1, self.tokens + tokens, loss
        self.speed.add(tokens, time.perf_counter() - began)
        report = StepReport(
            step=self.step,
            steps=config.steps,
            loss=loss,
            grad_norm=norm,
            learning_rate=rate,
            tokens=self.tokens,
            tokens_per_second=self.speed.tokens_per_second,
            seconds_left=self.seconds_left(),
        )
        # Wall-clock values stand apart under "timing", so that equal runs have equal lines otherwise.
        if self.run and (self.step == 1 or self.due(config.log_every)):
            values = dataclasses.asdict(report)
            record = {name: values[name] for name in ("step", "loss", "grad_norm", "learning_rate", "tokens")}
            self.run.log(record | {"timing": {"tokens_per_second": report.tokens_per_second}})
        self.step_complete = True
        return report

    def batches(self, generator: torch.Generator) -> list[Batch]:
        """Make the step's batches, one for each forward pass."""
        order = self.order.of_step(self.step)
        batches = [
            self.objective([self.rows[index] for index in part], generator).to(self.device)
            for part in np.split(order, self.config.accumulate)
        ]
        return self.curriculum.easiest(batches, self.step)

    def backward(self, batches: list[Batch]) -> tuple[float, float]:
        """Leave the step's clipped gradient in the parameters; return the loss and the norm before clipping."""
        weight = sum(batch.weight_sum for batch in batches)
        if weight == 0:
            raise RunError(
                f"a step needs a token to score, got {self.config.rows_per_step} rows without one in step "
                f"{self.step + 1}; give longer documents or a larger batch_rows"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss = scored = 0.0
        for batch in batches:
            logits = self.model(batch.input_ids, mask=batch.mask, position_ids=batch.position_ids)
            batch = self.curriculum.within_reach(batch, logits, self.step)
            scored += batch.weight_sum
            # Divided by the weight of the whole step: dividing each part by its own would let a part with few
            # scored tokens count as much as one with many.
            out = masked_cross_entropy(logits, batch.targets, batch.weights, denominator=weight)
            out.loss.backward()
            loss += out.loss.item()
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if scored not in (weight, 0.0):
            # A measured curriculum has removed targets; their number is known only now.
            loss *= weight / scored
            for gradient in gradients:
                gradient.mul_(weight / scored)
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.config.clip, norm)
        return loss, norm.item()

    def validate_if_due(self, interrupts: Interrupts) -> None:
        """Validate after every `eval_every` steps and after the last one, unless the run has done so already."""
        if not (self.validate and self.step > self.validated_step and self.due(self.config.eval_every)):
            return
        began = time.perf_counter()
        # A validation changes nothing, so Ctrl-C needn't wait for its end.
        with interrupts.interruptible():
            self.validation = self.validate(self.model)
        self.model.train()
        self.validation_seconds = time.perf_counter() - began
        if self.run:
            record = {"step": self.step, "validation": self.validation}
            self.run.log(record | {"timing": {"validation_seconds": self.validation_seconds}})
        self.validated_step = self.step

    def due(self, every: int) -> bool:
        """Return whether a thing that is done each `every` steps, and after the last one, is due."""
        return self.step == self.config.steps or (every > 0 and self.step > 0 and self.step % every == 0)

    def seconds_left(self) -> float:
        """Estimate the time until the end."""
        steps, every = self.config.steps - self.step, self.config.eval_every or self.config.steps
        # One validation at each multiple still to come, and one at the end.
        validations = -(-self.config.steps // every) - self.step // every if self.validate and steps else 0
        return steps * self.speed.seconds_per_step + validations * self.validation_seconds

    def save(self) -> None:
        """Write a checkpoint, unless the run has one of this step."""
        if self.run is None or self.step == self.saved_step:
            return
        from .. import __version__

        # First the lines, then the checkpoint that says how many lines there are.
        self.run.sync_metrics()
        save_checkpoint(
            self.run.checkpoint_path,
            self.model,
            self.optimizer,
            progress=Progress(self.step, self.tokens, self.curriculum.state),
            identity=self.identity,
            version=__version__,
        )
        self.saved_step = self.step

    def finish(self) -> None:
        """Write the last checkpoint and the weights."""
        if self.run is not None:
            self.save()
            self.run.save_model(self.model)
