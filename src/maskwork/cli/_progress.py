"""The live progress of training: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..training import StepReport
from ._console import duration


class TrainingProgress:
    """The progress of one training: a context manager that is called with every step's report."""

    def __init__(self, console: Console, every: int = 50) -> None:
        self.console = console
        self.every = every
        self._validated: dict[str, float] | None = None
        # Redrawn in place in a terminal; switched off in a log, which gets a line every `every` steps instead.
        self._bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, report: StepReport) -> None:
        """Show one step."""
        text = f"loss {report.loss:.3f}  {report.tokens_per_second:,.0f} tokens/s  {duration(report.seconds_left)} left"
        self._bar.update(self._task, total=report.steps, completed=report.step, description=text)
        if not self.console.is_terminal and (report.step % self.every == 0 or report.step in (1, report.steps)):
            self.console.print(f"step {report.step}/{report.steps}  {text}")
        if report.validation is not None and report.validation != self._validated:
            self._validated = report.validation
            bits = report.validation.get("bits_per_byte")
            if isinstance(bits, int | float):  # a resumed run takes it from metrics, where anything may stand
                self.console.print(f"step {report.step}: validation sample at {bits:.3f} bits per byte")
