"""The check `cache`: decoding step by step, in chunks, and in a batch of unequal prompts gives what one pass gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...masks import Mask
from .._expect import sees_later_keys, table_of
from .._probes.cached_influence import cached_influence
from .._probes.calling_conventions import CachedDecoding, alone, pad_token, padded
from .._probes.locate import ComparedCall, locate_deviation
from .._probes.subject import CannotRun, Subject
from .._probes.tolerance import change, nan_words, tolerance, tolerance_words
from .._verdicts.report import Cause, Outcome, Site, make_finding

_CHUNK = 5


@dataclass(frozen=True)
class _Decoding:
    """The model, its cache, and the mask that both must honour."""

    subject: Subject
    cached: CachedDecoding
    expect: Mask


def check_cache(subject: Subject, expect: Mask) -> Outcome:
    """Compare each way of decoding with the full forward pass, within a derived tolerance."""
    if subject.inputs.is_floating_point():
        raise CannotRun("this check needs token ids")
    decoding = _Decoding(subject, CachedDecoding(subject), expect)
    length = subject.length
    if sees_later_keys(expect, length):
        raise CannotRun("a mask that shows later keys cannot be cached")
    ids = subject.rows(1)
    one_pass = subject.run(ids)[0]
    half = length // 2
    # The sizes of the pieces, way by way.
    ways = {
        "a prefill and single steps": [half] + [1] * (length - half),
        f"chunks of {_CHUNK}": [_CHUNK] * (length // _CHUNK) + [length % _CHUNK] * bool(length % _CHUNK),
        # Every position is a single step in one way or the other.
        "single steps from the first": [1] * length if length <= 32 else [1] * half + [length - half],
    }
    worst = 0.0
    for name, sizes in ways.items():
        differ = change(one_pass, decoding.cached.run(ids, sizes)[0]).cpu()
        worst = max(worst, float(differ.max()))
        # Pieces have other shapes than one pass, so bits may differ by rounding.
        if worst > tolerance(one_pass, subject.model):
            return _deviates(decoding, one_pass, differ, name, sizes)
    words = f"one pass against {', '.join(ways)}"
    try:
        outcome, largest = _unequal(decoding)
        if outcome is not None:
            return outcome
        worst = max(worst, largest)
        words += " and unequal prompts"
    except CannotRun as why:
        words += f" (unequal prompts not tried: {why})"
    evidence = f"{words}: outputs differ by at most {worst:.2g}, {tolerance_words(one_pass, subject.model)}"
    return Outcome([], evidence, nan_words(one_pass))


def _deviates(
    decoding: _Decoding, one_pass: torch.Tensor, differ: torch.Tensor, name: str, sizes: list[int]
) -> Outcome:
    subject, cached = decoding.subject, decoding.cached
    words = f"one pass against {name}"
    ids = subject.rows(1)
    site = locate_deviation(
        subject,
        ComparedCall(lambda: subject.run(ids, **subject.without_cache())),
        ComparedCall(lambda: cached.run(ids, sizes)),
    )
    wrong = int((differ > tolerance(one_pass, subject.model)).sum())
    pair = int(differ.argmax()), None
    cause = _cause(decoding, site, sizes)
    return Outcome([make_finding("cache", pair, float(differ.max()), wrong, cause, site, words)], words)


def _cause(decoding: _Decoding, site: Site | None, sizes: list[int]) -> Cause:
    """Return `ALIGNMENT` when the cached run lost keys that it should see, else `CACHE_MASK`.

    A triangle from the wrong corner forbids the past. Of 4 keys, with 2 in the cache:

        from the bottom right   ###.      from the top left   #...
                                ####                          ##..
    """
    if site is None or not site.attends or not site.module:
        return Cause.CACHE_MASK
    observed = cached_influence(decoding.subject, site.module, lambda inputs: decoding.cached.run(inputs, sizes))
    if observed is None:
        return Cause.CACHE_MASK
    allowed = table_of(decoding.expect, decoding.subject.length)
    later = allowed & ~torch.eye(len(allowed), dtype=torch.bool)
    later[: sizes[0]] = False  # the first piece has no past in the cache
    lost, gained = int((later & ~observed).sum()), int((observed & ~allowed).sum())
    return Cause.ALIGNMENT if lost > 0.25 * int(later.sum()) and not gained else Cause.CACHE_MASK


@dataclass(frozen=True)
class _UnequalPrompts:
    """Two prompts decoded together, the second one shorter and padded on the left.

        row 0   a b c d e f g h
        row 1   - - - a b c d e

    Attributes:
        rows: int64 `(2, L)`.
        starts: where each row's prompt begins.
        sizes: length of each piece.
        steps: options of each piece.
    """

    rows: torch.Tensor
    starts: list[int]
    sizes: list[int]
    steps: list[dict[str, object]]

    def outputs(self, cached: CachedDecoding, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Decode these rows, or others with the same padding."""
        return cached.run(self.rows if rows is None else rows, self.sizes, self.steps)


def _unequal_prompts(decoding: _Decoding) -> _UnequalPrompts:
    subject = decoding.subject
    length, token = subject.length, pad_token(subject)
    # The second prompt is shorter by as many tokens as its row is padded.
    pads = min(3, length // 2)
    starts = [0, pads]
    padded(subject, decoding.expect, starts, [length] * 2, length)  # raises where the model takes no padding
    short = subject.inputs[: length - pads]
    rows = torch.full((2, length), token, device=short.device)
    rows[0], rows[1, pads:] = subject.inputs, short
    sizes = [length // 2] + [1] * min(8, length - length // 2)
    if remaining := length - sum(sizes):
        sizes.append(remaining)
    return _UnequalPrompts(rows, starts, sizes, decoding.cached.unequal(decoding.expect, starts, sizes))


def _unequal(decoding: _Decoding) -> tuple[Outcome | None, float]:
    """Compare each prompt of an unequal batch with the prompt alone; return the largest difference too."""
    subject = decoding.subject
    prompts = _unequal_prompts(decoding)
    out = prompts.outputs(decoding.cached)
    worst = 0.0
    # Only real positions are compared: outputs at padding mean nothing.
    for row, start in enumerate(prompts.starts):
        ids = subject.inputs[: subject.length - start][None]
        single = subject.run(ids, **alone(subject, decoding.expect, ids.shape[1]))[0]
        differ = change(single, out[row, start:]).cpu()
        worst = max(worst, float(differ.max()))
        room = tolerance(single, subject.model)
        if worst > room:
            return _unequal_deviates(decoding, prompts, row, differ, room), worst
    return None, worst


def _unequal_deviates(
    decoding: _Decoding, prompts: _UnequalPrompts, row: int, differ: torch.Tensor, room: float
) -> Outcome:
    subject, cached, start = decoding.subject, decoding.cached, prompts.starts[row]
    words = "one pass against a batch of unequal prompts, the shorter one padded on the left"
    ids = subject.inputs[: subject.length - start][None]
    site = locate_deviation(
        subject,
        ComparedCall(lambda: subject.run(ids, **alone(subject, decoding.expect, ids.shape[1]))),
        ComparedCall(lambda: prompts.outputs(cached), slice(start, None), row),
    )
    # Other tokens as padding: outputs that follow them see the padding, all others have the wrong positions.
    pads = prompts.starts[1]
    other = prompts.rows.clone()
    other[1, :pads] = subject.inputs[-pads:].flip(0)
    before, after = prompts.outputs(cached), prompts.outputs(cached, other)
    visible = bool((change(before[1, pads:], after[1, pads:]) > room * 1e-2).any())
    cause = Cause.PADDING_VISIBLE if visible else Cause.POSITIONS_NOT_RESTARTED
    wrong = int((differ > room).sum())
    pair = int(differ.argmax()) + start, None
    return Outcome([make_finding("cache", pair, float(differ.max()), wrong, cause, site, words)], words)
