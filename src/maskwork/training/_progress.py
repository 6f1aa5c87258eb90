"""What the loop tells about itself: a report per step, a result at the end, and its speed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """One step that is done.

    Attributes:
        step: how many steps are done, counted from 1.
        steps: how many there will be.
        loss: mean loss of the step's scored tokens, in nats, before the update.
        grad_norm: norm of the whole gradient before clipping.
        learning_rate: what the update used.
        tokens: tokens read since the run began, padding not counted.
        tokens_per_second: over the last steps, validation and saving left out.
        seconds_left: until the end, with the validations to come.
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
    """A finished run.

    Attributes:
        steps: optimizer steps, those before a resume among them.
        tokens: tokens read, padding not counted, those before a resume among them.
        loss: the last step's mean loss in nats; None when a resumed run had nothing left to do.
        validation: the last validation's numbers; None without a validation.
        seconds: wall-clock time of this call.
        resumed_from: the step that this call began at; 0 for a new run.
    """

    steps: int
    tokens: int
    loss: float | None
    validation: dict[str, float] | None
    seconds: float
    resumed_from: int


class Speed:
    """Tokens and seconds of the last steps: recent enough to follow a change, long enough not to flicker.

    >>> speed = Speed()
    >>> speed.add(tokens=300, seconds=2.0)
    >>> speed.tokens_per_second, speed.seconds_per_step
    (150.0, 2.0)
    """

    def __init__(self, steps: int = 20) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=steps)

    def add(self, tokens: int, seconds: float) -> None:
        self._recent.append((tokens, seconds))

    @property
    def tokens_per_second(self) -> float:
        seconds = sum(seconds for _, seconds in self._recent)
        return sum(tokens for tokens, _ in self._recent) / seconds if seconds > 0 else 0.0

    @property
    def seconds_per_step(self) -> float:
        return sum(seconds for _, seconds in self._recent) / len(self._recent) if self._recent else 0.0
