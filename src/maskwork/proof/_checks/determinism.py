"""The check `determinism`: equal calls agree and no leak appears in training mode or under another attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from .._expect import Expected
from .._probes.black_box import Sets, Whole
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._probes.survey import Survey
from .._probes.tolerance import nan_words
from .._verdicts.outcome import Outcome, finding, shortest
from .._verdicts.report import Cause, Finding

_ROWS = 4
_EVAL = "eval mode"
_IMPLEMENTATIONS = ("eager", "sdpa")


def check_determinism(subject: Subject, reach: torch.Tensor | None, clear: Whole | None) -> Outcome:
    """Every mode and implementation: the same call twice is the same, and forbidden inputs change no bit.

    Args:
        subject: the model.
        reach: bool `(L, L)`, what may influence what.
        clear: the model in eval mode, where that is known not to leak.
    """
    tried: list[str] = []
    findings: list[Finding] = []
    warning = ""
    for name, variant in _variants(subject):
        with variant:
            tried.append(name)
            known = clear if name == _EVAL else None
            try:
                whole = known or Whole(subject, most_rows=_ROWS)
            except CannotRun:
                whole = None
            if whole is None or whole.noise:
                warning = warning or f"two equal calls differ ({name})"
            elif nan := nan_words(whole.out):
                warning = warning or f"{nan} ({name})"
            elif known is None and reach is not None and (leak := _leak(subject, whole, reach, name)) is not None:
                findings.append(leak)
    leak = f"; forbidden inputs leak in {len(findings)}" if findings else "; forbidden inputs change no bit"
    evidence = f"{', '.join(tried)}: two equal calls agree{leak if reach is not None else ''}"
    return Outcome(findings[:1], evidence, warning)


def _leak(subject: Subject, whole: Whole, reach: torch.Tensor, name: str) -> Finding | None:
    sets = Sets.of(reach)
    if not len(sets.keys):
        return None
    # The check `mask` tries every set; here a few, spread over all.
    sets = sets.spread(4 * _ROWS if whole.substitutions(len(sets.keys)) > 1 else _ROWS)
    influences = whole.forbidden(sets)
    if influences.unsettled and (wide := subject.float64()) is not None:
        influences = whole.forbidden(sets, settle=Whole(wide, most_rows=_ROWS))
    if not (influences.effect > 0).any():
        return None
    effect = influences.effect
    worst = int(effect.amax(1).argmax())
    place = locate(subject, sets.keys[worst], sets.queries[worst])
    leaks = sets.nearest(effect)
    cause = Cause.NO_MASK if place is None or place.attends else Cause.MIXES_OUTSIDE_ATTENTION
    return finding("determinism", shortest(leaks), float(effect.max()), int(leaks.sum()), cause, place, f"in {name}")


def _variants(subject: Subject) -> Iterator[tuple[str, object]]:
    model = subject.module
    yield _EVAL, _as_is()
    if model is None:
        return
    yield "training mode", _training(model)
    now = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if now in _IMPLEMENTATIONS and hasattr(model, "set_attn_implementation"):
        for name in _IMPLEMENTATIONS:
            if name != now and (variant := _attention(model, name, now)) is not None:
                yield f"{name} attention", variant


@contextmanager
def _as_is() -> Iterator[None]:
    yield


@contextmanager
def _training(model: torch.nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()


def _attention(model: torch.nn.Module, name: str, before: str) -> object | None:
    try:
        model.set_attn_implementation(name)  # type: ignore[operator]
    except (ValueError, ImportError, RuntimeError, AttributeError):
        return None
    finally:
        with suppress(ValueError, ImportError, RuntimeError):
            model.set_attn_implementation(before)  # type: ignore[operator]

    @contextmanager
    def switched() -> Iterator[None]:
        model.set_attn_implementation(name)  # type: ignore[operator]
        try:
            yield
        finally:
            model.set_attn_implementation(before)  # type: ignore[operator]

    return switched()


def whole_reach(
    subject: Subject, expected: Expected, layers: object, found: Callable[[], Survey]
) -> torch.Tensor | None:
    """What may influence what through the model, or None where that cannot be said."""
    if not expected.spreads:
        return expected.steps[0]  # whatever the layers, so that they need not be counted
    try:
        return expected.reach(found(), layers, subject.config)[0]  # type: ignore[arg-type]
    except CannotRun:
        return None
