"""The check `batch`: a row's output depends on no other row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._probes.locate import locate_rows
from .._probes.subject import CannotRun, Subject, substitutes
from .._probes.tolerance import change, nan_words, relative_room, tolerance, tolerance_words
from .._verdicts.report import Cause, Outcome, make_finding

_ROWS = 3


def require_steady(subject: Subject, options: Mapping[str, Any]) -> None:
    """Raise `CannotRun` when equal calls, with these options, differ by what comparisons could take for a fault."""
    noise = subject.noise_of(options) if options else subject.noise
    if 4 * noise > tolerance(subject.run(subject.rows(1), **options)[0], subject.model):
        raise CannotRun(
            f"two equal calls differ by {noise:.2g}; switch off what is random in the model, or what it keeps "
            "between calls"
        )


def check_batch(subject: Subject) -> Outcome:
    """Check whether bits depend on neighbours, their order or earlier calls, and more than rounding on the batch size.

    The sequence s is run among neighbours, first in row 0 and then in the last row:

        s n m   among neighbours       n m s
        s x y   other neighbours       x y s
        s m n   another order
        s       alone
    """
    other_rows = substitutes(subject, 2 * _ROWS)
    neighbours, strangers = other_rows[: _ROWS - 1], other_rows[_ROWS : 2 * _ROWS - 1]
    reordered = neighbours.flip(0)
    outs: list[torch.Tensor] = []
    for row, names in ((0, ("other neighbours", "neighbours in another order")), (_ROWS - 1, ("other neighbours",))):
        first = _batch_with(subject, neighbours, row)
        before = subject.run(first)[row]
        variants = [
            (name, _batch_with(subject, rows, row)) for name, rows in zip(names, (strangers, reordered), strict=False)
        ]
        after = [subject.run(rows)[row] for _, rows in variants]
        if not outs:
            # The calls with other neighbours lie between these two equal ones.
            drift = change(subject.run(first)[row], before).cpu()
            # Changes up to 16 times the noise between equal calls are let pass.
            if float(drift.max()) > 16 * subject.noise:
                return _leak(subject, "an earlier call's rows", first, None, row, drift)
        # At equal shapes the order of summation is equal too, so that every bit counts.
        for (name, rows), out in zip(variants, after, strict=True):
            effect = change(out, before).cpu()
            if float(effect.max()) > 16 * subject.noise and not _is_rounding(subject, first, rows, row, effect):
                return _leak(subject, name, first, rows, row, effect)
        outs.append(before)
    # Another number of rows may change the order of summation, so here only more than rounding counts.
    alone = subject.run(subject.rows(1))[0]
    effect = torch.maximum(change(alone, outs[0]), change(outs[1], outs[0])).cpu()
    if float(effect.max()) > tolerance(alone, subject.model):
        return _leak(subject, "another number of rows", first, None, row, effect)
    evidence = (
        "other neighbours, neighbours in another order and earlier calls change no bit; alone and in another row "
    )
    evidence += f"differ by at most {float(effect.max()):.2g}, {tolerance_words(alone, subject.model)}"
    return Outcome(evidence=evidence, warning=nan_words(alone))


def _batch_with(subject: Subject, neighbours: torch.Tensor, row: int) -> torch.Tensor:
    """Return a batch with the sequence in this row, and the neighbours in the others."""
    return torch.stack([*neighbours[:row], subject.inputs, *neighbours[row:]])


def _is_rounding(subject: Subject, first: torch.Tensor, rows: torch.Tensor, row: int, effect: torch.Tensor) -> bool:
    """Return whether float64 makes the difference shrink, as it does rounding."""
    if float(effect.max()) > relative_room(subject.run(first)[row], subject.model):
        return False
    # No copy in float64: then the difference stays a finding.
    wide = subject.float64()
    if wide is None:
        return False
    if first.is_floating_point():
        first, rows = first.double(), rows.double()
    exact = change(wide.run(rows)[row], wide.run(first)[row]).cpu()
    return float(exact.max()) <= 1e-4 * float(effect.max())


def _leak(
    subject: Subject, name: str, first: torch.Tensor, rows: torch.Tensor | None, row: int, effect: torch.Tensor
) -> Outcome:
    site = locate_rows(subject, first, rows, row) if rows is not None else None
    cause = Cause.MIXES_OUTSIDE_ATTENTION if site is None or not site.attends else None
    wrong = int((effect > 0).sum())
    words = f"{name} change{'s' if name.startswith('another') else ''} a row"
    pair = int(effect.argmax()), None
    return Outcome([make_finding("batch", pair, float(effect.max()), wrong, cause, site, words)], words)
