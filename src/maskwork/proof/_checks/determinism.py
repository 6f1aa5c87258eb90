"""The check `determinism`: equal calls agree and no leak appears in training mode or under another attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Literal

import torch

from .._expect import Expected
from .._probes.locate import locate
from .._probes.subject import CannotRun, Subject
from .._probes.survey import Survey
from .._probes.tolerance import nan_words
from .._probes.whole_model import BlackBox, ForbiddenSets
from .._verdicts.patterns import shortest_pair
from .._verdicts.report import Cause, Finding, Outcome, make_finding

_ROWS = 4
_EVAL = "eval mode"

# Attention implementations of transformers that run everywhere; others need a device or a package of their own.
_IMPLEMENTATIONS = ("eager", "sdpa")


def check_determinism(subject: Subject, reach: torch.Tensor | None, clean: BlackBox | None) -> Outcome:
    """Check in every mode and implementation that equal calls agree and forbidden inputs change no bit.

    Args:
        subject: the model.
        reach: bool `(L, L)`, the pairs that may influence; None where that is not known.
        clean: the model in eval mode, where that is known not to leak.
    """
    tried: list[str] = []
    findings: list[Finding] = []
    warning = ""
    for name, variant in _variants(subject):
        with variant:
            tried.append(name)
            # The check `mask` has already tried every set in eval mode.
            proven = clean if name == _EVAL else None
            try:
                black_box = proven or BlackBox(subject, most_rows=_ROWS)
            except CannotRun:
                black_box = None
            if black_box is None or black_box.noise:
                warning = warning or f"two equal calls differ ({name})"
            elif nan := nan_words(black_box.out):
                warning = warning or f"{nan} ({name})"
            elif proven is None and reach is not None and (leak := _leak(subject, black_box, reach, name)) is not None:
                findings.append(leak)
    leak = f"; forbidden inputs leak in {len(findings)}" if findings else "; forbidden inputs change no bit"
    evidence = f"{', '.join(tried)}: two equal calls agree{leak if reach is not None else ''}"
    return Outcome(findings[:1], evidence, warning)


def _leak(subject: Subject, black_box: BlackBox, reach: torch.Tensor, name: str) -> Finding | None:
    sets = ForbiddenSets.from_allowed(reach)
    if not len(sets.keys):
        return None
    # The check `mask` tries every set; here a few, spread over all.
    sets = sets.spread(4 * _ROWS if black_box.substitutions(len(sets.keys)) > 1 else _ROWS)
    effects = black_box.forbidden(sets)
    if effects.unsettled and (wide := subject.float64()) is not None:
        effects = black_box.forbidden(sets, settle=BlackBox(wide, most_rows=_ROWS))
    effect = effects.effect
    if not (effect > 0).any():
        return None
    # The module is looked for with the set that changes an output most.
    worst = int(effect.amax(1).argmax())
    site = locate(subject, sets.keys[worst], sets.queries[worst])
    leaks = sets.nearest(effect)
    cause = Cause.NO_MASK if site is None or site.attends else Cause.MIXES_OUTSIDE_ATTENTION
    pair = shortest_pair(leaks)
    return make_finding("determinism", pair, float(effect.max()), int(leaks.sum()), cause, site, f"in {name}")


def _variants(subject: Subject) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    """Yield each mode and implementation with the context in which the model is in it."""
    model = subject.module
    yield _EVAL, nullcontext()
    if model is None:
        return
    yield "training mode", _training(model)
    current = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if current in _IMPLEMENTATIONS and hasattr(model, "set_attn_implementation"):
        for name in _IMPLEMENTATIONS:
            if name != current and (variant := _attention(model, name, current)) is not None:
                yield f"{name} attention", variant


@contextmanager
def _training(model: torch.nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()


def _attention(model: torch.nn.Module, name: str, before: str) -> AbstractContextManager[None] | None:
    """Return the context in which the model runs with this attention; None when the model refuses it."""
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


def known_reach(
    subject: Subject, expected: Expected, layers: int | Literal["auto"], survey: Callable[[], Survey]
) -> torch.Tensor | None:
    """Return the pairs that may influence through the model, None where they are not known."""
    if not expected.spreads:
        return expected.tables[0]  # whatever the layers, so that they need not be counted
    try:
        return expected.reach(survey(), layers, subject.config)[0]
    except CannotRun:
        return None
