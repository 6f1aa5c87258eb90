"""The check `padding`: real positions come out as they do without padding, whatever the padding holds."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...masks import Mask
from .._probes.calling_conventions import CallingConvention, alone, pad_token, padded
from .._probes.locate import ComparedCall, locate, locate_deviation
from .._probes.subject import CannotRun, Subject, substitutes
from .._probes.tolerance import change, nan_words, tolerance, tolerance_words
from .._probes.whole_model import affordable_substitutions
from .._verdicts.report import Cause, Outcome, Site, make_finding

# Positions of padding at most; of a short sequence less, so that real positions are left.
_LEFT, _RIGHT = 2, 3


def check_padding(subject: Subject, expect: Mask) -> Outcome:
    """Check padding on either side and on both: its tokens change no bit, and its place no more than rounding.

    A row of a sequence with real positions r and padding `-`:

        right        r r r r r - - -
        left         - - r r r r r r
        both sides   - - r r r - - -
    """
    token = pad_token(subject)
    total = subject.length
    worst, room, convention, untried, warning = 0.0, "", "", "", ""
    tried: list[str] = []
    most_left, most_right = min(_LEFT, total // 4), min(_RIGHT, total // 3)
    for side, left, right in (("right", 0, most_right), ("left", most_left, 0), ("both sides", most_left, most_right)):
        start, end = left, total - right
        try:
            call = padded(subject, expect, [start], [end], total)
        except CannotRun as why:
            # No side can be tried at all: the check cannot run. Otherwise the other sides still count.
            if not convention:
                raise
            untried = f"; {side} not tried: {why}"
            continue
        convention = call.name
        tried.append(side)
        row = _PaddedRow(subject, side, start, end, token, call)
        outcome = row.check_content()
        if outcome is not None:
            return outcome
        single = row.run_alone(expect)[0]
        differ = change(single, row.baseline).cpu()
        worst, room = max(worst, float(differ.max())), tolerance_words(single, subject.model)
        warning = warning or nan_words(single)
        if float(differ.max()) > tolerance(single, subject.model):
            return row.deviates(expect, differ)
    evidence = f"{', '.join(tried)} ({convention}): padding's tokens change no bit, padded and alone differ by at most "
    return Outcome(evidence=f"{evidence}{worst:.2g}, {room}{untried}", warning=warning)


class _PaddedRow:
    """One row with real positions from `start` to `end` and padding around them.

    Attributes:
        row: int64 `(1, L)`.
        baseline: outputs of the real positions with padding tokens as padding.
    """

    def __init__(self, subject: Subject, side: str, start: int, end: int, token: int, call: CallingConvention) -> None:
        self.subject, self.side, self.start, self.end, self.call = subject, side, start, end, call
        self.real = subject.inputs[: end - start]
        self.row = torch.full((1, subject.length), token, device=self.real.device)
        self.row[:, start:end] = self.real
        self.baseline = self._run(self.row)[0, start:end]

    def _run(self, inputs: torch.Tensor) -> torch.Tensor:
        # The arguments are those of one row, and not every model broadcasts them over a larger batch.
        options = {
            name: value.expand(len(inputs), *value.shape[1:]) if isinstance(value, torch.Tensor) else value
            for name, value in self.call.options.items()
        }
        return self.subject.run(inputs, **options)

    def run_alone(self, expect: Mask) -> torch.Tensor:
        """Run the real positions without padding."""
        return self.subject.run(self.real[None].clone(), **alone(self.subject, expect, len(self.real)))

    def check_content(self) -> Outcome | None:
        """Return a finding where a bit of a real position changes with the padding's tokens, else None."""
        subject, start, end = self.subject, self.start, self.end
        pads = torch.ones(subject.length, dtype=torch.bool)
        pads[start:end] = False
        effect = torch.zeros(len(self.real), dtype=torch.float64)
        # The padding's tokens are replaced by others: real positions must not change by a bit.
        for new in substitutes(subject, min(2, affordable_substitutions(subject, 3))):
            changed = self.row.clone()
            changed[:, pads] = new[pads]
            effect = torch.maximum(effect, change(self._run(changed)[0, start:end], self.baseline).cpu())
        if float(effect.max()) <= self._rounding():
            return None
        padded_sequence = replace(subject, inputs=self.row[0])
        site = locate(padded_sequence, pads, ~pads, lambda _, inputs: self._run(inputs))
        # The model's own code between its modules counts as attention, since padding masks are built there.
        outside = site is not None and site.module and not site.attends
        cause = Cause.MIXES_OUTSIDE_ATTENTION if outside else Cause.PADDING_VISIBLE
        return self._leak(effect, cause, site, "what the padding holds")

    def _rounding(self) -> float:
        """Return how much routing by data may move the last place; a padded key that is seen moves far more."""
        finite = self.baseline[self.baseline.isfinite()].abs().double()
        largest = float(finite.max()) if self.baseline.is_floating_point() and finite.numel() else 0.0
        eps = torch.finfo(self.baseline.dtype).eps if largest else 0.0
        return 16 * max(eps * largest, self.subject.noise)

    def deviates(self, expect: Mask, differ: torch.Tensor) -> Outcome:
        """Return the outcome of a row whose real positions differ from themselves alone."""
        site = locate_deviation(
            self.subject,
            ComparedCall(lambda: self.run_alone(expect)),
            ComparedCall(lambda: self._run(self.row), slice(self.start, self.end)),
        )
        # Padding on the right moves no position, so attention sees the padding; padding on the left moves them all.
        if site is not None and site.module and not site.attends and not self.start:
            cause = Cause.MIXES_OUTSIDE_ATTENTION
        else:
            cause = Cause.POSITIONS_NOT_RESTARTED if self.start else Cause.PADDING_VISIBLE
        return self._leak(differ, cause, site, "where the padding lies")

    def _leak(self, effect: torch.Tensor, cause: Cause, site: Site | None, what_changes: str) -> Outcome:
        wrong = int((effect > 0).sum())
        pair = int(effect.argmax()) + self.start, None
        words = f"padded on the {self.side}: {what_changes} changes real positions"
        return Outcome([make_finding("padding", pair, float(effect.max()), wrong, cause, site, words)], words)
