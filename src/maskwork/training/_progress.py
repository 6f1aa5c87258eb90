"""Progress of a training: a report per step, a result at the end, and the speed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """The report of a step that is done.

    Attributes:
        step: how many steps are done, counted from 1.
        steps: how many steps the run has.
        loss: mean loss of the step's scored tokens, in nats, before the update.
        grad_norm: norm of the whole gradient before clipping.
        learning_rate: the learning rate of the update.
        tokens: tokens read since the run began, padding not counted.
        tokens_per_second: over the last steps, without validation and saving.
        seconds_left: estimated time until the end, with the validations to come.
        validation: the newest validation's numbers; None before the first.
    """

    step: int
    steps: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens: int
    tokens_per_second: float
    seconds_left: float
    validation: dict[str, float] | None = None


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        steps: optimizer steps, with those before a resume.
        tokens: tokens read, with those before a resume; padding is not counted.
        loss: the last step's mean loss in nats; None when a resumed run was finished already.
        validation: the last validation's numbers; None without a validation.
        seconds: wall-clock time of this call.
        resumed_from: the step at which this call began; 0 for a new run.
    """

    steps: int
    tokens: int
    loss: float | None
    validation: dict[str, float] | None
    seconds: float
    resumed_from: int


class Speed:
    """Tokens and seconds of the last steps: few enough to follow a change, enough not to flicker.

    >>> speed = Speed()
    >>> speed.add(tokens=300, seconds=2.0)
    >>> speed.tokens_per_second, speed.seconds_per_step
    (150.0, 2.0)
    """

    def __init__(self, steps: int = 20) -> None:
        # (tokens, seconds) of each step; the oldest falls out.
        self._recent: deque[tuple[int, float]] = deque(maxlen=steps)

    def add(self, tokens: int, seconds: float) -> None:
        """Add a step."""
        self._recent.append((tokens, seconds))

    @property
    def tokens_per_second(self) -> float:
        """The mean rate of the last steps; 0 before the first."""
        seconds = sum(seconds for _, seconds in self._recent)
        return sum(tokens for tokens, _ in self._recent) / seconds if seconds > 0 else 0.0

    @property
    def seconds_per_step(self) -> float:
        """The mean time of the last steps; 0 before the first."""
        return sum(seconds for _, seconds in self._recent) / len(self._recent) if self._recent else 0.0
