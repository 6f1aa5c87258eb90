"""The check `cache`: decoding step by step, in chunks, and in a batch of unequal prompts gives what one pass gives."""

from __future__ import annotations

from typing import Any

import torch

from ...masks import Mask, causal
from .._expect import step_table
from .._probes.cached import cached_step
from .._probes.calls import Cached, alone, pad_token, padded
from .._probes.deviation import deviation
from .._probes.subject import CannotRun, Subject
from .._probes.tolerance import change, nan_words, tolerance, tolerance_words
from .._verdicts.outcome import Outcome, Place, finding
from .._verdicts.report import Cause

_CHUNK = 5


def check_cache(subject: Subject, expect: Mask) -> Outcome:
    """Each way of decoding against the full forward pass, within a derived tolerance."""
    if subject.inputs.is_floating_point():
        raise CannotRun("this check needs token ids")
    cached = Cached(subject)
    length = subject.length
    if not expect.bind(length).subset_of(causal()):
        raise CannotRun("a mask that shows later keys cannot be cached")
    ids = subject.rows(1)
    whole = subject.run(ids)[0]
    half = length // 2
    ways = {
        "a prefill and single steps": [half] + [1] * (length - half),
        f"chunks of {_CHUNK}": _chunks(length),
        # Every position is a single step in one way or the other.
        "single steps from the first": [1] * length if length <= 32 else [1] * half + [length - half],
    }
    worst = 0.0
    for name, sizes in ways.items():
        differ = change(whole, cached.run(ids, sizes)[0]).cpu()
        worst = max(worst, float(differ.max()))
        if worst > tolerance(whole, subject.model):
            return _wrong(subject, cached, expect, whole, differ, name, sizes)
    said = f"one pass against {', '.join(ways)}"
    try:
        outcome, far = _unequal(subject, cached, expect)
        if outcome is not None:
            return outcome
        worst = max(worst, far)
        said += " and unequal prompts"
    except CannotRun as why:
        said += f" (unequal prompts not tried: {why})"
    evidence = f"{said}: outputs differ by at most {worst:.2g}, {tolerance_words(whole, subject.model)}"
    return Outcome([], evidence, nan_words(whole))


def _chunks(length: int) -> list[int]:
    return [_CHUNK] * (length // _CHUNK) + [length % _CHUNK] * bool(length % _CHUNK)


def _wrong(
    subject: Subject,
    cached: Cached,
    expect: Mask,
    whole: torch.Tensor,
    differ: torch.Tensor,
    name: str,
    sizes: list[int],
) -> Outcome:
    words = f"one pass against {name}"
    ids = subject.rows(1)
    place = deviation(
        subject,
        (lambda: subject.run(ids, **subject.without_cache()), slice(None), 0),
        (lambda: cached.run(ids, sizes), slice(None), 0),
    )
    wrong = int((differ > tolerance(whole, subject.model)).sum())
    cause = _cause(subject, cached, expect, place, sizes)
    at = int(differ.argmax()), None
    return Outcome([finding("cache", at, float(differ.max()), wrong, cause, place, words)], words)


def _cause(subject: Subject, cached: Cached, expect: Mask, place: Place | None, sizes: list[int]) -> Cause:
    """Whether the cached run has lost keys that it should see: a triangle from the wrong corner forbids the past."""
    if place is None or not place.attends or not place.module:
        return Cause.CACHE_MASK
    seen = cached_step(subject, place.module, lambda inputs: cached.run(inputs, sizes))
    if seen is None:
        return Cause.CACHE_MASK
    allowed = step_table(expect, subject.length)
    later = allowed & ~torch.eye(len(allowed), dtype=torch.bool)
    later[: sizes[0]] = False
    lost, gained = int((later & ~seen).sum()), int((seen & ~allowed).sum())
    return Cause.ALIGNMENT if lost > 0.25 * int(later.sum()) and not gained else Cause.CACHE_MASK


def _pads(length: int) -> int:
    return min(3, length // 2)


def _unequal(subject: Subject, cached: Cached, expect: Mask) -> tuple[Outcome | None, float]:
    """Two prompts, one of them shorter and padded on the left, decoded together."""
    length, token = subject.length, pad_token(subject)
    pads = _pads(length)
    starts = [0, pads]
    padded(subject, expect, starts, [length] * 2, length)  # raises where padding cannot be told
    short = subject.inputs[: length - pads]
    rows = torch.full((2, length), token, device=short.device)
    rows[0], rows[1, pads:] = subject.inputs, short
    sizes = [length // 2] + [1] * min(8, length - length // 2)
    rest = length - sum(sizes)
    sizes += [rest] if rest else []
    steps = cached.unequal(expect, starts, sizes)
    out = cached.run(rows, sizes, steps)
    worst = 0.0
    for row, start in enumerate(starts):
        ids = subject.inputs[: length - start][None]
        single = subject.run(ids, **alone(subject, expect, length - start))[0]
        differ = change(single, out[row, start:]).cpu()
        worst = max(worst, float(differ.max()))
        room = tolerance(single, subject.model)
        if worst > room:
            return _unequal_wrong(subject, cached, expect, rows, sizes, steps, row, start, differ, room), worst
    return None, worst


def _unequal_wrong(
    subject: Subject,
    cached: Cached,
    expect: Mask,
    rows: torch.Tensor,
    sizes: list[int],
    steps: list[dict[str, Any]],
    row: int,
    start: int,
    differ: torch.Tensor,
    room: float,
) -> Outcome:
    words = "one pass against a batch of unequal prompts, the shorter one padded on the left"
    ids = subject.inputs[: subject.length - start][None]
    place = deviation(
        subject,
        (lambda: subject.run(ids, **alone(subject, expect, ids.shape[1])), slice(None), 0),
        (lambda: cached.run(rows, sizes, steps), slice(start, None), row),
    )
    other = rows.clone()
    pads = _pads(subject.length)
    other[1, :pads] = subject.inputs[-pads:].flip(0)
    before, after = cached.run(rows, sizes, steps), cached.run(other, sizes, steps)
    visible = bool((change(before[1, pads:], after[1, pads:]) > room * 1e-2).any())
    cause = Cause.PADDING_VISIBLE if visible else Cause.POSITIONS_NOT_RESTARTED
    wrong = int((differ > room).sum())
    at = int(differ.argmax()) + start, None
    return Outcome([finding("cache", at, float(differ.max()), wrong, cause, place, words)], words)
