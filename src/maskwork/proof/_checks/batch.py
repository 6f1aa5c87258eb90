"""The check `batch`: a row's output depends on no other row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._probes.locate import locate_rows
from .._probes.subject import CannotRun, Subject
from .._probes.substitutes import substitutes
from .._probes.tolerance import change, nan_words, relative_room, tolerance, tolerance_words
from .._verdicts.outcome import Outcome, finding
from .._verdicts.report import Cause

_ROWS = 3


def steady(subject: Subject, options: Mapping[str, Any]) -> None:
    """Raise `CannotRun` when equal calls, with these options, differ by what comparisons could take for a fault."""
    noise = subject.noise_of(options) if options else subject.noise
    if 4 * noise > tolerance(subject.run(subject.rows(1), **options)[0], subject.model):
        raise CannotRun(
            f"two equal calls differ by {noise:.2g}; switch off what is random in the model, or what it keeps "
            "between calls"
        )


def check_batch(subject: Subject) -> Outcome:
    """Neighbours, their order and earlier calls change no bit; the number of rows changes no more than rounding."""
    others = substitutes(subject, 2 * _ROWS)
    near, far = others[: _ROWS - 1], others[_ROWS : 2 * _ROWS - 1]
    reordered = near.flip(0)
    outs: list[torch.Tensor] = []
    for at, names in ((0, ("other neighbours", "neighbours in another order")), (_ROWS - 1, ("other neighbours",))):
        first = _among(subject, near, at)
        before = subject.run(first)[at]
        variants = [(name, _among(subject, rows, at)) for name, rows in zip(names, (far, reordered), strict=False)]
        after = [subject.run(rows)[at] for _, rows in variants]
        if not outs:
            kept = change(subject.run(first)[at], before).cpu()
            if float(kept.max()) > 16 * subject.noise:
                return _leak(subject, "an earlier call's rows", first, None, at, kept)
        for (name, rows), out in zip(variants, after, strict=True):
            effect = change(out, before).cpu()
            if float(effect.max()) > 16 * subject.noise and not _is_rounding(subject, first, rows, at, effect):
                return _leak(subject, name, first, rows, at, effect)
        outs.append(before)
    alone = subject.run(subject.rows(1))[0]
    effect = torch.maximum(change(alone, outs[0]), change(outs[1], outs[0])).cpu()
    if float(effect.max()) > tolerance(alone, subject.model):
        return _leak(subject, "another number of rows", first, None, at, effect)
    evidence = (
        "other neighbours, neighbours in another order and earlier calls change no bit; alone and in another row "
    )
    evidence += f"differ by at most {float(effect.max()):.2g}, {tolerance_words(alone, subject.model)}"
    return Outcome(evidence=evidence, warning=nan_words(alone))


def _among(subject: Subject, neighbours: torch.Tensor, at: int) -> torch.Tensor:
    """The sequence at row `at`, with these neighbours."""
    return torch.stack([*neighbours[:at], subject.inputs, *neighbours[at:]])


def _is_rounding(subject: Subject, first: torch.Tensor, rows: torch.Tensor, at: int, effect: torch.Tensor) -> bool:
    """Whether float64 makes the difference shrink, as it does rounding."""
    if float(effect.max()) > relative_room(subject.run(first)[at], subject.model):
        return False
    wide = subject.float64()
    if wide is None:
        return False
    if first.is_floating_point():
        first, rows = first.double(), rows.double()
    again = change(wide.run(rows)[at], wide.run(first)[at]).cpu()
    return float(again.max()) <= 1e-4 * float(effect.max())


def _leak(
    subject: Subject, name: str, first: torch.Tensor, rows: torch.Tensor | None, at: int, effect: torch.Tensor
) -> Outcome:
    place = locate_rows(subject, first, rows, at) if rows is not None else None
    cause = Cause.MIXES_OUTSIDE_ATTENTION if place is None or not place.attends else None
    wrong = int((effect > 0).sum())
    words = f"{name} change{'s' if name.startswith('another') else ''} a row"
    pair = int(effect.argmax()), None
    return Outcome([finding("batch", pair, float(effect.max()), wrong, cause, place, words)], words)
