"""The check `padding`: real positions come out as they do without padding, whatever the padding holds."""

from __future__ import annotations

import torch

from ...masks import Mask
from .._probes.black_box import affordable_substitutions
from .._probes.calls import alone, pad_token, padded
from .._probes.deviation import deviation
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._probes.substitutes import substitutes
from .._probes.tolerance import change, nan_words, tolerance, tolerance_words
from .._verdicts.outcome import Outcome, Place, finding
from .._verdicts.report import Cause

#: Positions of padding at most; of a short sequence less, so that some of it is left.
_LEFT, _RIGHT = 2, 3
_ROWS = 1


def check_padding(subject: Subject, expect: Mask) -> Outcome:
    """Left, right and both: what padding holds must not change a bit, and its place no more than rounding."""
    token = pad_token(subject)
    total = subject.length
    worst, room, call, left_out, warning = 0.0, "", "", "", ""
    tried: list[str] = []
    most_left, most_right = min(_LEFT, total // 4), min(_RIGHT, total // 3)
    for side, left, right in (("right", 0, most_right), ("left", most_left, 0), ("both sides", most_left, most_right)):
        real = subject.inputs[: total - left - right]
        start, end = left, total - right
        try:
            told = padded(subject, expect, [start] * _ROWS, [end] * _ROWS, total)
        except CannotRun as why:
            if not call:
                raise
            left_out = f"; {side} not tried: {why}"
            continue
        call = told.name
        tried.append(side)
        pads = torch.ones(total, dtype=torch.bool)
        pads[start:end] = False
        rows = torch.full((_ROWS, total), token, device=real.device)
        rows[:, start:end] = real
        quiet = subject.run(rows, **told.options)[:, start:end]
        other = substitutes(subject, min(2, affordable_substitutions(subject, 3)))
        effect = torch.zeros(len(real), dtype=torch.float64)
        for new in other:
            loud = rows.clone()
            loud[:, pads] = new[pads]
            effect = torch.maximum(effect, change(subject.run(loud, **told.options)[0, start:end], quiet[0]).cpu())
        if float(effect.max()) > _rounding(subject, quiet[0]):
            sequence = Subject(subject.model, subject.call, rows[0])
            place = locate(sequence, pads, ~pads, lambda s, x, t=told: s.run(x, **_first(t.options, len(x))))
            cause = Cause.PADDING_VISIBLE if place is None or place.attends or not place.module else None
            return _leak(side, effect, start, cause or Cause.MIXES_OUTSIDE_ATTENTION, place, "what the padding holds")
        unpadded = alone(subject, expect, len(real), _ROWS)
        single = subject.run(real.expand(_ROWS, -1).clone(), **unpadded)
        differ = change(single[0], quiet[0]).cpu()
        worst, room = max(worst, float(differ.max())), tolerance_words(single[0], subject.model)
        warning = warning or nan_words(single[0])
        if float(differ.max()) > tolerance(single[0], subject.model):
            place = deviation(
                subject,
                (lambda a=real, u=unpadded: subject.run(a.expand(_ROWS, -1).clone(), **u), slice(None), 0),
                (lambda r=rows, t=told: subject.run(r, **t.options), slice(start, end), 0),
            )
            outside = place is not None and place.module and not place.attends and not left
            cause = Cause.MIXES_OUTSIDE_ATTENTION if outside else Cause.POSITIONS_NOT_RESTARTED
            cause = cause if left or outside else Cause.PADDING_VISIBLE
            return _leak(side, differ, start, cause, place, "where the padding lies")
    evidence = f"{', '.join(tried)} ({call}): padding's tokens change no bit, padded and alone differ by at most "
    return Outcome(evidence=f"{evidence}{worst:.2g}, {room}{left_out}", warning=warning)


def _rounding(subject: Subject, quiet: torch.Tensor) -> float:
    """What routing by data may move in the last place; a padded key that is seen moves far more."""
    finite = quiet[quiet.isfinite()].abs().double()
    largest = float(finite.max()) if quiet.is_floating_point() and finite.numel() else 0.0
    return 16 * max(torch.finfo(quiet.dtype).eps * largest if largest else 0.0, subject.noise)


def _first(options: dict[str, object], rows: int) -> dict[str, object]:
    return {name: v[:rows] if isinstance(v, torch.Tensor) else v for name, v in options.items()}


def _leak(side: str, effect: torch.Tensor, start: int, cause: Cause, place: Place | None, what: str) -> Outcome:
    wrong = int((effect > 0).sum())
    at = int(effect.argmax()) + start, None
    words = f"padded on the {side}: {what} changes real positions"
    return Outcome([finding("padding", at, float(effect.max()), wrong, cause, place, words)], words)
