"""The check `mask`: each module one step against its mask, the whole model against the mask's reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from .._expect import Expected, through
from .._probes.black_box import Sets, Whole
from .._probes.gradient import flow, locate_gradient
from .._probes.influence import Step
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._probes.survey import Mixer, Survey, survey
from .._probes.tolerance import dtype_name, nan_words
from .._verdicts.cause import cause_of
from .._verdicts.missing import missing_words
from .._verdicts.outcome import Outcome, Place, finding, shortest
from .._verdicts.picture import picture
from .._verdicts.report import Cause, Finding

#: Leaks of the whole model that are tried again with the other rows of the batch left alone.
_CONFIRMED = 8


def check_mask(
    subject: Subject,
    expected: Expected,
    layers: int | Literal["auto"],
    found: Survey,
    check: str = "mask",
    *,
    whole: Callable[[], Whole],
) -> Outcome:
    """Judge modules and model; `found` is the survey of its modules, `whole` is called if these are clean."""
    order = expected.assign([mixer.name for mixer in found.mixers])
    leaking = [
        (mixer, leaks, expected.steps[i])
        for mixer, i in zip(found.mixers, order, strict=True)
        if (leaks := mixer.step.seen & ~expected.steps[i]).any()
    ]
    parts = _parts_words(found, expected)
    if leaking:
        return Outcome([_module_finding(check, leaking)], parts)
    reach, count = expected.reach(found, layers, subject.config)
    black_box = whole()
    warning = nan_words(black_box.out)
    outcome, words = _judge_whole(check, subject, black_box, reach, count, found.complete)
    evidence = "; ".join(filter(None, [parts, words, _noise_words(black_box)]))
    if outcome is not None:
        return Outcome([outcome], f"{evidence}; {warning}" if warning else evidence)
    if not warning and not found.mixers and not _any_flow(black_box):
        warning = "the model mixes no positions, so there was nothing to leak"
    if not warning:
        warning = _missing(subject, found, expected, order)
    return Outcome([], evidence, warning)


def _parts_words(found: Survey, expected: Expected) -> str:
    """How the modules were judged: by which method and precision, what was settled, and what could not be."""
    words: list[str] = []
    steps = {mixer.name: mixer.step for mixer in found.mixers}
    if steps:
        few = [step.outputs for step in steps.values() if step.outputs < len(step.effect)]
        some = f" (at {min(few)} outputs of the large ones)" if few else ""
        by = "bit by bit"
        if any(step.precision == torch.float64 for step in steps.values()):
            by += f" and by gradients in float64{some}"
        words.append(f"{len(steps)} modules that mix positions judged one step, {by}")
        words += _refusals(steps)
    rounding = sum(int((mixer.step.rounding & expected.suspect).sum()) for mixer in found.mixers)
    if rounding:
        words.append(f"{rounding} differences settled in float64 as rounding")
    unsettled = sum(int(step.unsettled.sum()) for step in steps.values() if step.unsettled is not None)
    if unsettled:
        words.append(f"{unsettled} differences at rounding level not settled, since float64 is refused")
    if found.unjudged:
        words.append(f"{len(found.unjudged)} could not be run alone ({found.unjudged[0]})")
    return ", ".join(words)


def _refusals(steps: dict[str, Step]) -> list[str]:
    """Words for the modules whose gradients could not be taken in float64, by what they could be taken in."""
    refused: dict[torch.dtype | None, list[str]] = {}
    for name, step in steps.items():
        if step.precision != torch.float64:
            refused.setdefault(step.precision, []).append(name)
    return [
        f"by gradients in {dtype_name(dtype)} in {len(names)} that refuse float64 ({names[0]})"
        if dtype is not None
        else f"by bits alone in {len(names)} that give no gradients ({names[0]})"
        for dtype, names in refused.items()
    ]


def _module_finding(check: str, leaking: list[tuple[Mixer, torch.Tensor, torch.Tensor]]) -> Finding:
    mixer, leaks, allowed = leaking[0]
    step = mixer.step
    if mixer.attends:
        cause = cause_of(leaks, step.seen, allowed, contrast=step.contrast)
    else:
        cause = Cause.MIXES_OUTSIDE_ATTENTION
    bits = int((leaks & (step.effect > 0)).sum())
    faint = int(leaks.sum()) - bits
    words = f"judged alone: {bits} forbidden pairs change bits"
    if faint:
        words += f", {faint} more have a gradient in {dtype_name(step.precision)}"
    if step.gradient is not None and bits and not (leaks & (step.gradient > 0)).any():
        words += ", though every gradient there is 0: the choice is discrete"
    if step.precision is None:
        words += "; it gives no gradients"
    elif step.precision != torch.float64:
        words += f"; it refuses float64, so its gradients are in {dtype_name(step.precision)}"
    effect = float(step.effect[leaks].max())
    if not effect and step.gradient is not None:
        effect = float(step.gradient[leaks].max())
    query, key = shortest(leaks)
    modules = tuple(dict.fromkeys(m.name for m, _, _ in leaking))
    drawn = picture(allowed, step.seen, query, key)
    return Finding(check, query, key, effect, int(leaks.sum()), cause, mixer.name, modules, words, drawn)


def _judge_whole(
    check: str,
    subject: Subject,
    whole: Whole,
    reach: torch.Tensor,
    count: int | None,
    complete: bool,
) -> tuple[Finding | None, str]:
    every = Sets.of(reach)
    if not len(every.keys):
        return None, "the mask's reach forbids nothing in the whole model"
    # Where each module was judged alone, only what lies between them is left: a few sets are enough for a large model.
    sets = every.spread(whole.affordable_sets()) if complete else every
    influences = whole.forbidden(sets)
    settled = ""
    if influences.unsettled:
        wide = subject.float64()
        if wide is not None:
            try:
                influences = whole.forbidden(sets, settle=Whole(wide))
                if influences.rounding:
                    settled = f", {influences.rounding} differences shrink with the precision: rounding"
            except (RuntimeError, TypeError, ValueError, CannotRun):
                settled = ", at rounding level and not settled: the model does not run in float64"
        else:
            settled = ", at rounding level and not settled: no copy of the model in float64"
    forbidden = int((~reach).sum())
    words = (
        f"whole model: {forbidden} forbidden pairs in {len(every.keys)} sets of inputs changed together, "
        f"{f'{len(sets.keys)} of them tried, ' if len(sets.keys) < len(every.keys) else ''}"
        f"{influences.tried} substitution{'s' if influences.tried > 1 else ''} each"
    )
    sets, effect, rows = _of_own_row(whole, sets, influences.effect)
    if not (effect > 0).any():
        words += f": no output changes by a bit{settled}{rows}"
        if rows:  # a batch of gradients would add up what each row gives the others
            return None, f"{words} and no gradients were taken"
        return _judge_gradients(check, subject, whole, reach, count, words)
    return _whole_finding(check, subject, whole, reach, sets, effect, count), words + settled + rows


def _of_own_row(whole: Whole, sets: Sets, effect: torch.Tensor) -> tuple[Sets, torch.Tensor, str]:
    """The sets and effects that remain when no other row changes; as they were where rows don't change each other."""
    leaking = (effect > 0).any(1).nonzero().flatten()
    some = leaking[torch.linspace(0, len(leaking) - 1, min(len(leaking), _CONFIRMED)).long().unique()]
    if not len(some):
        return sets, effect, ""
    own = whole.one_row_at_a_time(sets.only(some))
    if (own > 0).any(1).all():
        return sets, effect, ""
    return (
        sets.only(some),
        own,
        "; rows of a batch change each other (see the check batch), so one was changed at a time",
    )


def _judge_gradients(
    check: str, subject: Subject, whole: Whole, reach: torch.Tensor, count: int | None, words: str
) -> tuple[Finding | None, str]:
    """Flow too weak to change a bit: every forbidden gradient must be exactly 0."""
    if whole.noise:
        return None, words
    found = flow(subject, reach)
    if found is None:
        return None, f"{words}; of the whole no gradients can be taken"
    words += f"; its gradients in {dtype_name(found.precision)} at {found.asked} outputs"
    if found.rounding:
        words += f", {found.rounding} of them settled as rounding"
    seen = found.size > 0
    leaks = seen & ~reach
    if not leaks.any():
        return None, f"{words}: all forbidden ones are 0"
    query, key = shortest(leaks)
    place = locate_gradient(found.subject, query, key)
    said = f"no bit changes, but the gradient in {dtype_name(found.precision)} is not 0"
    effect = float(found.size[leaks].max())
    return _finding_of_whole(check, effect, leaks, seen, reach, count, place, said), words


def _whole_finding(
    check: str,
    subject: Subject,
    whole: Whole,
    reach: torch.Tensor,
    sets: Sets,
    effect: torch.Tensor,
    count: int | None,
) -> Finding:
    pairs = whole.pairs()
    seen = pairs > 0
    leaks = seen & ~reach
    words = ""
    if not leaks.any():  # only several inputs together show it: each is blamed on the nearest of its set
        words = "no input alone shows it"
        leaks = sets.nearest(effect)
        seen = seen | leaks
    worst = int(effect.amax(1).argmax())
    place = locate(subject, sets.keys[worst], sets.queries[worst])
    query, _ = shortest(leaks)
    gradients = flow(subject, reach, torch.tensor([query]))
    if gradients is not None and not (leaks & (gradients.size > 0)).any():
        words = "; ".join(filter(None, [words, f"every gradient of output {query} there is 0: the choice is discrete"]))
    return _finding_of_whole(check, float(effect.max()), leaks, seen, reach, count, place, words)


def _finding_of_whole(
    check: str,
    effect: float,
    leaks: torch.Tensor,
    seen: torch.Tensor,
    reach: torch.Tensor,
    count: int | None,
    place: Place | None,
    words: str,
) -> Finding:
    cause = _whole_cause(leaks, seen, reach, count, place)
    pair = shortest(leaks)
    return finding(check, pair, effect, int(leaks.sum()), cause, place, words, picture(reach, seen, *pair))


def _whole_cause(
    leaks: torch.Tensor,
    seen: torch.Tensor,
    reach: torch.Tensor,
    count: int | None,
    place: Place | None,
) -> Cause | None:
    cause = cause_of(leaks, seen, reach, layers=count or 1)
    if place is None or place.attends:
        return cause
    # The model's own code: a shift of its outputs is known by its pattern, and without attention so is the rest.
    if place.module == "" and cause == Cause.OFF_BY_ONE:
        return cause
    return Cause.MIXES_OUTSIDE_ATTENTION


def _any_flow(whole: Whole) -> bool:
    pairs = whole.pairs()
    return bool((pairs > 0)[~torch.eye(*pairs.shape, dtype=torch.bool)].any())


def _noise_words(whole: Whole) -> str:
    if not whole.noise:
        return ""
    return f"equal calls differ by up to {whole.noise:.2g}, so changes below {16 * whole.noise:.2g} were let pass"


def _missing(subject: Subject, found: Survey, expected: Expected, order: list[int]) -> str:
    """Words for flow that no layer has; asked again of random weights in float64, since a zero may be a weight's."""
    if not found.complete or subject.inputs.is_floating_point():
        return ""

    def words(mixers: list[Mixer]) -> str:
        eye = torch.eye(subject.length, dtype=torch.bool)
        flow, may = eye, eye
        for mixer, i in zip(mixers, order, strict=True):
            flow, may = through(mixer.step.seen | eye, flow), through(expected.steps[i], may)
        return missing_words(may & ~flow, may)

    if not words(found.mixers):
        return ""
    wide = subject.float64()
    if wide is None or wide.module is None:
        return ""
    _randomise(wide.module)
    try:
        again = survey(wide, expected.suspect)
    except (RuntimeError, TypeError, ValueError):
        return ""
    if not again.complete or [m.name for m in again.mixers] != [m.name for m in found.mixers]:
        return ""
    return words(again.mixers)


def _randomise(module: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.5
            parameter.copy_(noise * scale + (1.0 if parameter.ndim < 2 else 0.0))
