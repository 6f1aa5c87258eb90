"""The check `mask`: each module against its mask, and the whole model against the mask's reach through its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .._expect import Expected, through
from .._probes.influence import Influence
from .._probes.locate import locate, locate_gradient
from .._probes.subject import CannotRun, Subject
from .._probes.survey import Mixer, Survey, survey
from .._probes.tolerance import dtype_name, nan_words
from .._probes.whole_model import BlackBox, ForbiddenSets, whole_gradients
from .._verdicts.patterns import cause_of, missing_words, picture, shortest_pair
from .._verdicts.report import Cause, Finding, Outcome, Site, make_finding

# Leaks of the whole model that are tried again with the other rows of the batch left unchanged.
_CONFIRMED = 8


def check_mask(
    subject: Subject,
    expected: Expected,
    layers: int | Literal["auto"],
    modules: Survey,
    black_box: Callable[[], BlackBox],
) -> Outcome:
    """Judge the modules of the survey, and the whole model if these are clean; only then `black_box` is called."""
    order = expected.assign([mixer.name for mixer in modules.mixers])
    # A module may see one layer's mask only, however far the whole model reaches.
    leaking = [
        (mixer, leaks, expected.tables[i])
        for mixer, i in zip(modules.mixers, order, strict=True)
        if (leaks := mixer.influence.observed & ~expected.tables[i]).any()
    ]
    parts = _module_words(modules, expected)
    # A module that leaks explains every leak of the whole model, which then needs no search.
    if leaking:
        return Outcome([_module_finding(leaking)], parts)
    reach, count = expected.reach(modules, layers, subject.config)
    model = _WholeModel(subject, black_box(), reach, count)
    warning = nan_words(model.black_box.out)
    finding, words = model.judge(modules.complete)
    evidence = "; ".join(filter(None, [parts, words, _noise_words(model.black_box)]))
    if finding is not None:
        return Outcome([finding], f"{evidence}; {warning}" if warning else evidence)
    if not warning and not modules.mixers and not _any_flow(model.black_box):
        warning = "the model mixes no positions, so there was nothing to leak"
    if not warning:
        warning = _missing(subject, modules, expected, order)
    return Outcome([], evidence, warning)


def _module_words(modules: Survey, expected: Expected) -> str:
    """Return how the modules were judged: by which method and precision, what was settled, and what could not be."""
    words: list[str] = []
    influences = {mixer.name: mixer.influence for mixer in modules.mixers}
    if influences:
        few = [i.outputs for i in influences.values() if i.outputs < len(i.effect)]
        large = f" (at {min(few)} outputs of the large ones)" if few else ""
        method = "bit by bit"
        if any(influence.precision == torch.float64 for influence in influences.values()):
            method += f" and by gradients in float64{large}"
        words.append(f"{len(influences)} modules that mix positions judged one step, {method}")
        words += _refusals(influences)
    rounding = sum(int((mixer.influence.rounding & expected.suspect).sum()) for mixer in modules.mixers)
    if rounding:
        words.append(f"{rounding} differences settled in float64 as rounding")
    unsettled = sum(int(i.unsettled.sum()) for i in influences.values() if i.unsettled is not None)
    if unsettled:
        words.append(f"{unsettled} differences at rounding level not settled, since float64 is refused")
    if modules.unjudged:
        words.append(f"{len(modules.unjudged)} could not be run alone ({modules.unjudged[0]})")
    return ", ".join(words)


def _refusals(influences: dict[str, Influence]) -> list[str]:
    """Return words for the modules whose gradients could not be taken in float64, by the dtype that they took."""
    refused: dict[torch.dtype | None, list[str]] = {}
    for name, influence in influences.items():
        if influence.precision != torch.float64:
            refused.setdefault(influence.precision, []).append(name)
    return [
        f"by gradients in {dtype_name(dtype)} in {len(names)} that refuse float64 ({names[0]})"
        if dtype is not None
        else f"by bits alone in {len(names)} that give no gradients ({names[0]})"
        for dtype, names in refused.items()
    ]


def _module_finding(leaking: list[tuple[Mixer, torch.Tensor, torch.Tensor]]) -> Finding:
    """Build the finding of the first module that leaks; its modules are all that do."""
    mixer, leaks, allowed = leaking[0]
    influence = mixer.influence
    if mixer.attends:
        cause = cause_of(leaks, influence.observed, allowed, contrast=influence.contrast)
    else:
        cause = Cause.MIXES_OUTSIDE_ATTENTION
    bits = int((leaks & (influence.effect > 0)).sum())
    # Pairs whose gradient alone is not 0: the flow is below the last place of the dtype.
    faint = int(leaks.sum()) - bits
    words = f"judged alone: {bits} forbidden pairs change bits"
    if faint:
        words += f", {faint} more have a gradient in {dtype_name(influence.precision)}"
    if influence.gradient is not None and bits and not (leaks & (influence.gradient > 0)).any():
        words += ", though every gradient there is 0: the choice is discrete"
    if influence.precision is None:
        words += "; it gives no gradients"
    elif influence.precision != torch.float64:
        words += f"; it refuses float64, so its gradients are in {dtype_name(influence.precision)}"
    effect = float(influence.effect[leaks].max())
    if not effect and influence.gradient is not None:
        effect = float(influence.gradient[leaks].max())
    query, key = shortest_pair(leaks)
    modules = tuple(dict.fromkeys(m.name for m, _, _ in leaking))
    drawn = picture(allowed, influence.observed, query, key)
    return Finding("mask", query, key, effect, int(leaks.sum()), cause, mixer.name, modules, words, drawn)


@dataclass(frozen=True)
class _WholeModel:
    """The whole model and its reach.

    Attributes:
        reach: bool `(L, L)`, the pairs that may influence.
        count: through how many layers; None where they cannot be counted.
    """

    subject: Subject
    black_box: BlackBox
    reach: torch.Tensor
    count: int | None

    def judge(self, complete: bool) -> tuple[Finding | None, str]:
        """Return a finding, if any, and the evidence; `complete` when each module was judged alone."""
        every = ForbiddenSets.from_allowed(self.reach)
        if not len(every.keys):
            return None, "the mask's reach forbids nothing in the whole model"
        # Where each module was judged alone, only what lies between them is left: a large model is tried at a few sets.
        sets = every.spread(self.black_box.affordable_sets()) if complete else every
        # First all bits at the model's own precision; differences at rounding level go to float64.
        effects = self.black_box.forbidden(sets)
        settled = ""
        if effects.unsettled:
            wide = self.subject.float64()
            if wide is not None:
                try:
                    effects = self.black_box.forbidden(sets, settle=BlackBox(wide))
                    if effects.rounding:
                        settled = f", {effects.rounding} differences shrink with the precision: rounding"
                except (RuntimeError, TypeError, ValueError, CannotRun):
                    settled = ", at rounding level and not settled: the model does not run in float64"
            else:
                settled = ", at rounding level and not settled: no copy of the model in float64"
        words = (
            f"whole model: {int((~self.reach).sum())} forbidden pairs in {len(every.keys)} sets of inputs changed "
            f"together, {f'{len(sets.keys)} of them tried, ' if len(sets.keys) < len(every.keys) else ''}"
            f"{effects.substitutions} substitution{'s' if effects.substitutions > 1 else ''} each"
        )
        sets, effect, rows = self._confirmed(sets, effects.effect)
        if not (effect > 0).any():
            words += f": no output changes by a bit{settled}{rows}"
            if rows:  # a batch of gradients would add up what each row gives the others
                return None, f"{words} and no gradients were taken"
            return self._judge_gradients(words)
        return self._finding_of_bits(sets, effect), words + settled + rows

    def _confirmed(self, sets: ForbiddenSets, effect: torch.Tensor) -> tuple[ForbiddenSets, torch.Tensor, str]:
        """Return the sets and effects that remain when no other row changes, and words where rows change each other."""
        leaking = (effect > 0).any(1).nonzero().flatten()
        retried = leaking[torch.linspace(0, len(leaking) - 1, min(len(leaking), _CONFIRMED)).long().unique()]
        if not len(retried):
            return sets, effect, ""
        # Each set had a row of one batch: rows that mix would show another set's change as their own.
        single = self.black_box.one_row_at_a_time(sets.select(retried))
        if (single > 0).any(1).all():
            return sets, effect, ""
        words = "; rows of a batch change each other (see the check batch), so one was changed at a time"
        return sets.select(retried), single, words

    def _judge_gradients(self, words: str) -> tuple[Finding | None, str]:
        """Judge flow too weak to change a bit: every forbidden gradient must be exactly 0."""
        if self.black_box.noise:
            return None, words
        # Exact zeros are expected: a forbidden key is multiplied by a weight of exactly 0.
        gradients = whole_gradients(self.subject, self.reach)
        if gradients is None:
            return None, f"{words}; of the whole no gradients can be taken"
        words += f"; its gradients in {dtype_name(gradients.precision)} at {gradients.outputs} outputs"
        if gradients.rounding:
            words += f", {gradients.rounding} of them settled as rounding"
        observed = gradients.size > 0
        leaks = observed & ~self.reach
        if not leaks.any():
            return None, f"{words}: all forbidden ones are 0"
        site = locate_gradient(gradients.subject, *shortest_pair(leaks))
        faint = f"no bit changes, but the gradient in {dtype_name(gradients.precision)} is not 0"
        return self._finding(float(gradients.size[leaks].max()), leaks, observed, site, faint), words

    def _finding_of_bits(self, sets: ForbiddenSets, effect: torch.Tensor) -> Finding:
        observed = self.black_box.pairs() > 0
        leaks = observed & ~self.reach
        words = ""
        if not leaks.any():  # only several inputs together show it: the leak is given to the nearest of its set
            words = "no input alone shows it"
            leaks = sets.nearest(effect)
            observed = observed | leaks
        worst = int(effect.amax(1).argmax())
        site = locate(self.subject, sets.keys[worst], sets.queries[worst])
        query, _ = shortest_pair(leaks)
        # A gradient of 0 does not clear the leak: a choice, as of an expert, has none.
        gradients = whole_gradients(self.subject, self.reach, torch.tensor([query]))
        if gradients is not None and not (leaks & (gradients.size > 0)).any():
            discrete = f"every gradient of output {query} there is 0: the choice is discrete"
            words = "; ".join(filter(None, [words, discrete]))
        return self._finding(float(effect.max()), leaks, observed, site, words)

    def _finding(
        self, effect: float, leaks: torch.Tensor, observed: torch.Tensor, site: Site | None, words: str
    ) -> Finding:
        cause = self._cause(leaks, observed, site)
        pair = shortest_pair(leaks)
        drawn = picture(self.reach, observed, *pair)
        return make_finding("mask", pair, effect, int(leaks.sum()), cause, site, words, drawn)

    def _cause(self, leaks: torch.Tensor, observed: torch.Tensor, site: Site | None) -> Cause | None:
        cause = cause_of(leaks, observed, self.reach, layers=self.count or 1)
        if site is None or site.attends:
            return cause
        # In the model's own code only a shift of its outputs has a pattern; every other leak mixes outside attention.
        if site.module == "" and cause == Cause.OFF_BY_ONE:
            return cause
        return Cause.MIXES_OUTSIDE_ATTENTION


def _any_flow(black_box: BlackBox) -> bool:
    pairs = black_box.pairs()
    return bool((pairs > 0)[~torch.eye(*pairs.shape, dtype=torch.bool)].any())


def _noise_words(black_box: BlackBox) -> str:
    noise = black_box.noise
    if not noise:
        return ""
    return f"equal calls differ by up to {noise:.2g}, so changes below {16 * noise:.2g} were let pass"


def _missing(subject: Subject, modules: Survey, expected: Expected, order: list[int]) -> str:
    """Return words for allowed flow that no layer has; "" where random weights in float64 show the flow.

    With the model's own weights an influence may be 0 by chance or by training, which is no fault of a mask.
    """
    if not modules.complete or subject.inputs.is_floating_point():
        return ""

    def words(mixers: list[Mixer]) -> str:
        eye = torch.eye(subject.length, dtype=torch.bool)
        flow, may = eye, eye
        for mixer, i in zip(mixers, order, strict=True):
            flow, may = through(mixer.influence.observed | eye, flow), through(expected.tables[i], may)
        return missing_words(may & ~flow, may)

    if not words(modules.mixers):
        return ""
    wide = subject.float64()
    if wide is None or wide.module is None:
        return ""
    # Trained or fresh weights may hide flow; random ones show it wherever the structure lets it through.
    _randomise(wide.module)
    try:
        randomised = survey(wide, expected.suspect)
    except (RuntimeError, TypeError, ValueError):
        return ""
    if not randomised.complete or [m.name for m in randomised.mixers] != [m.name for m in modules.mixers]:
        return ""
    return words(randomised.mixers)


def _randomise(module: Any) -> None:
    """Fill a copy's parameters with noise, scaled so that no layer saturates."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.5
            parameter.copy_(noise * scale + (1.0 if parameter.ndim < 2 else 0.0))
