"""`audit`: a model against the mask that it should honour."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..errors import ArgumentError, GridError
from ..lower import to_dense
from ..masks import Mask, causal, document, within
from ._cause import cause_of
from ._compare import change, nan_words, tolerance, tolerance_words
from ._influence import Run, influence, reach, replacements
from ._report import Cause, Finding, Report

#: Longest sequence audited at once: the work grows with its square.
MAX_LENGTH = 512

CHECKS = ("mask", "packing", "cache")


@dataclass(frozen=True)
class _Subject:
    """The model under audit, and how it is called."""

    model: Any
    call: Callable[..., Any] | None
    ids: torch.Tensor  # (L,)
    expect: Mask
    layers: int | None

    def run(self, ids: torch.Tensor, **options: Any) -> torch.Tensor:
        """Outputs `(B, L)` or `(B, L, …)`."""
        out = self.model(ids, **options) if self.call is None else self.call(self.model, ids)
        out = getattr(out, "logits", out)
        out = out[0] if isinstance(out, tuple) else out
        if not isinstance(out, torch.Tensor) or out.shape[:2] != ids.shape:
            found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise ArgumentError(
                f"an audited model returns one output per position, (batch, length, …), got {found} for ids "
                f"{tuple(ids.shape)}; adapt it with call=lambda model, ids: …"
            )
        return out

    def accepts(self, *names: str) -> bool:
        """Whether the model can be called with these keyword arguments."""
        if self.call is not None:
            return False
        forward = getattr(self.model, "forward", self.model)
        return set(names) <= set(inspect.signature(forward).parameters)

    @property
    def vocab_size(self) -> int | None:
        """How many tokens the model knows, where it says so; `call` may mean something else by a token."""
        size = getattr(getattr(self.model, "config", None), "vocab_size", None)
        return size if self.call is None and isinstance(size, int) else None


@dataclass(frozen=True)
class _Outcome:
    """What one check found."""

    findings: list[Finding]
    evidence: str
    #: Why a check without findings is not clean all the same.
    warning: str = ""

    @property
    def state(self) -> str:
        return "leak" if self.findings else f"warning: {self.warning}" if self.warning else "clean"


class _CannotRun(Exception):
    """A check does not apply to this model; the message says why."""


def audit(
    model: Any,
    input_ids: torch.Tensor | Sequence[int],
    expect: Mask | None = None,
    *,
    checks: Sequence[str] = CHECKS,
    layers: int | Literal["auto"] = "auto",
    call: Callable[..., Any] | None = None,
) -> Report:
    """Whether `model` honours the mask `expect`; leaks come back as findings, not as errors.

    - `"mask"`: every token is replaced in turn; outputs that may not depend on it must not change by one bit. The
      replacements are a few tokens of the sequence, and of the vocabulary where `model.config.vocab_size` states it:
      a leak that fires only for others can be missed.
    - `"packing"`: the same for three documents packed into one row, and each document must come out as it does alone.
      It needs a model that takes `mask` and `position_ids`.
    - `"cache"`: decoding token by token, and in pieces, gives the logits of one pass. It needs `model.new_cache()`
      and a `cache` argument.

    Args:
        model: a module or function from int64 ids `(B, L)` to `(B, L)` or `(B, L, …)` of any dtype, a tuple that starts
            with it, or an object with `.logits`. A module is put in eval mode meanwhile.
        input_ids: int64 `(L,)` or `(1, L)`, 4 to 512 tokens, at least two of them different.
        expect: the mask of one layer over one sequence; `causal()` when left out. Where heads differ, an output may
            depend on what any of them sees: that each head keeps to its own part cannot be told from outside.
        checks: which to run.
        layers: through how many layers influence may spread; at least 1; "auto" asks `model.config.layers`, else any
            number.
        call: `call(model, ids)` for models that are called otherwise.

    >>> import torch, maskwork as mw
    >>> model = mw.models.Transformer(mw.models.ModelConfig(
    ...     vocab_size=20, layers=2, width=16, heads=2, kv_heads=1, hidden=16, context=16))
    >>> mw.audit(model, torch.arange(16)).ok
    True
    >>> print(mw.audit(model, torch.arange(16), mw.sliding_window(2), checks=["mask"]).findings[0].check)
    mask
    """
    ids = torch.as_tensor(input_ids)
    ids = ids[0] if ids.ndim == 2 and len(ids) == 1 else ids
    if ids.ndim != 1 or not 4 <= len(ids) <= MAX_LENGTH or ids.dtype != torch.long:
        raise ArgumentError(
            f"an audit takes one sequence of 4 to {MAX_LENGTH} int64 tokens, got {ids.dtype} {tuple(ids.shape)}; "
            "pass one row, cut to length"
        )
    if len(ids.unique()) < 2:
        raise ArgumentError("an audit needs at least two different tokens, to have one to put in another's place")
    if unknown := [check for check in checks if check not in CHECKS]:
        raise ArgumentError(f"checks are {', '.join(CHECKS)}, got {unknown[0]!r}")
    subject = _Subject(
        model, call, ids, _one_sequence(causal() if expect is None else expect, len(ids)), _depth(model, layers)
    )
    outcomes: dict[str, _Outcome] = {}
    states: dict[str, str] = {}
    run_check = {"mask": _check_mask, "packing": _check_packing, "cache": _check_cache}
    with _eval_mode(model), torch.no_grad():
        for check in checks:
            try:
                outcomes[check] = run_check[check](subject)
                states[check] = outcomes[check].state
            except _CannotRun as reason:
                states[check] = f"cannot run: {reason}"
    findings = tuple(finding for outcome in outcomes.values() for finding in outcome.findings)
    return Report(findings, states, {check: outcome.evidence for check, outcome in outcomes.items()})


def _one_sequence(expect: Mask, length: int) -> Mask:
    """`expect`, if it can be asked about one sequence of this length."""
    if expect.batch > 1:
        raise ArgumentError(
            f"an audit looks at one sequence, got a mask {expect!r} over {expect.batch}; pass the mask of one row"
        )
    try:
        expect.bind(length)
    except GridError as error:
        raise GridError(f"the expected mask must fit the {length} audited tokens: {error}") from None
    return expect


def _depth(model: Any, layers: int | Literal["auto"]) -> int | None:
    if layers == "auto":
        layers = getattr(getattr(model, "config", None), "layers", None)
        return layers if isinstance(layers, int) and layers >= 1 else None
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
        raise ArgumentError(
            f'layers must be "auto" or an integer of at least 1, got {layers!r}; count the masked layers'
        )
    return layers


@contextmanager
def _eval_mode(model: Any) -> Iterator[None]:
    if not isinstance(model, torch.nn.Module):
        yield
        return
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():  # one by one: a user may have frozen a part in eval mode
            module.training = mode


def _check_mask(subject: _Subject) -> _Outcome:
    return _leaks("mask", subject, subject.run, subject.expect)


def _check_packing(subject: _Subject) -> _Outcome:
    if not subject.accepts("mask", "position_ids"):
        raise _CannotRun("the model takes no mask and position_ids, so packed rows cannot be told to it")
    length = len(subject.ids)
    lengths = [length // 4, length // 2 - length // 8, length - length // 4 - (length // 2 - length // 8)]
    try:
        for n in lengths:  # each document is also run alone
            subject.expect.bind(n)
    except GridError as error:
        raise _CannotRun(f"the expected mask fits only the whole sequence: {error}") from None
    position_ids = torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0).to(subject.ids.device)
    mask = within(subject.expect, lengths)

    def packed(ids: torch.Tensor) -> torch.Tensor:
        return subject.run(ids, mask=mask, position_ids=position_ids)

    outcome = _leaks("packing", subject, packed, mask, to_dense(document(lengths).bind(length))[0, 0])
    if outcome.findings:
        return outcome
    # No neighbour is seen, so what still differs from the document alone comes from where it lies.
    together = packed(subject.ids.unsqueeze(0))[0]
    parts = subject.ids.unsqueeze(0).split(lengths, dim=1)
    alone = torch.cat([subject.run(part, mask=subject.expect)[0] for part in parts])
    differ = change(alone, together)
    evidence = (
        f"{outcome.evidence}; alone and packed differ by at most {float(differ.max()):.2g}, "
        f"{tolerance_words(alone, subject.model)}"
    )
    findings = _beyond(differ, tolerance(alone, subject.model), "packing", Cause.POSITIONS_NOT_RESTARTED)
    return _Outcome(findings, evidence, outcome.warning)


def _check_cache(subject: _Subject) -> _Outcome:
    if not (hasattr(subject.model, "new_cache") and subject.accepts("cache")):
        raise _CannotRun("the model has no new_cache() or takes no cache")
    if not subject.expect.bind(len(subject.ids)).subset_of(causal()):
        raise _CannotRun("a mask that shows later keys cannot be cached")
    ids = subject.ids.unsqueeze(0)
    whole = subject.run(ids)[0]
    worst = 0.0
    for size in (1, 5):
        cache = subject.model.new_cache()
        pieces = torch.cat([subject.run(part, cache=cache) for part in ids.split(size, dim=1)], dim=1)[0]
        differ = change(whole, pieces)
        worst = max(worst, float(differ.max()))
        if found := _beyond(differ, tolerance(whole, subject.model), "cache", Cause.CACHE_MASK):
            return _Outcome(found, f"one pass against pieces of {size}")
    evidence = (
        f"one pass against pieces of 1 and 5 tokens: outputs differ by at most {worst:.2g}, "
        f"{tolerance_words(whole, subject.model)}"
    )
    return _Outcome([], evidence, nan_words(whole))


def _beyond(differ: torch.Tensor, room: float, check: str, cause: Cause) -> list[Finding]:
    """One finding, at the worst position, when any differs by more than `room`."""
    wrong = int((differ > room).sum())
    return [Finding(check, int(differ.argmax()), None, float(differ.max()), wrong, cause)] if wrong else []


def _leaks(check: str, subject: _Subject, run: Run, mask: Mask, documents: torch.Tensor | None = None) -> _Outcome:
    """Replace every token and judge what changed by `mask`; `documents` says which positions share one."""
    ids, length = subject.ids, len(subject.ids)
    first, second = (run(ids.expand(2, length).clone()) for _ in range(2))
    if any(change(a, b).any() for a, b in zip(first, second, strict=True)):
        raise _CannotRun("two equal calls gave different outputs; switch off what is random in the model")
    warning = nan_words(first[0])  # a NaN that stays NaN hides every influence on it
    others = replacements(ids, subject.vocab_size)
    effect = influence(run, ids, others)
    changed = effect > 0
    # An output is made of all heads, so it may depend on what any of them sees.
    allowed = reach(to_dense(mask.bind(length))[0].any(0), subject.layers)
    leaks = changed & ~allowed
    tried = f"each of {length} tokens replaced by {len(others)} other{'s' if len(others) > 1 else ''}"
    if not (changed & ~torch.eye(length, dtype=torch.bool)).any():
        evidence = f"{tried}: no token influences another position's output"
        return _Outcome([], evidence, warning or "the model mixes no positions, so there was nothing to leak")
    evidence = (
        f"{tried}, a test of those alone: {int((changed & allowed).sum())} allowed influences seen, "
        f"{int(leaks.sum())} of {int((~allowed).sum())} forbidden ones"
    )
    if not leaks.any():
        return _Outcome([], evidence + ", compared bit by bit", warning)
    at = int(torch.where(leaks, effect, -1.0).argmax())
    cause = cause_of(leaks, subject.layers, torch.ones_like(leaks) if documents is None else documents)
    finding = Finding(check, at // length, at % length, float(effect.flatten()[at]), int(leaks.sum()), cause)
    return _Outcome([finding], f"{evidence}; {warning}" if warning else evidence)
