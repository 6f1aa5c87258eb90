"""`audit`: a model against the mask that it should honour."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..errors import ArgumentError
from ..lower import to_dense
from ..masks import Mask, causal, within
from ._influence import Run, influence, reach
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
        """Outputs `(B, L, …)`."""
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

    - `"mask"`: every token is replaced in turn; outputs that may not depend on it must not change by one bit.
    - `"packing"`: the same for three documents packed into one row, and each document must come out as it does alone.
      It needs a model that takes `mask` and `position_ids`.
    - `"cache"`: decoding token by token, and in pieces, gives the logits of one pass. It needs `model.new_cache()`
      and a `cache` argument.

    Args:
        model: a module or function from int64 ids `(B, L)` to `(B, L, …)`, a tuple that starts with it, or an object
            with `.logits`. A module is put in eval mode meanwhile.
        input_ids: int64 `(L,)` or `(1, L)`, 4 to 512 tokens, at least two of them different.
        expect: the mask of one layer; `causal()` when left out.
        checks: which to run.
        layers: through how many layers influence may spread; "auto" asks `model.config.layers`, else any number.
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
    depth = getattr(getattr(model, "config", None), "layers", None) if layers == "auto" else layers
    subject = _Subject(model, call, ids, causal() if expect is None else expect, depth)
    findings: list[Finding] = []
    states: dict[str, str] = {}
    evidence: dict[str, str] = {}
    run_check = {"mask": _check_mask, "packing": _check_packing, "cache": _check_cache}
    with _eval_mode(model), torch.no_grad():
        for check in checks:
            try:
                found, evidence[check] = run_check[check](subject)
            except _CannotRun as reason:
                states[check] = f"cannot run: {reason}"
            else:
                states[check] = "leak" if found else "clean"
                findings += found
                if not found and evidence[check].startswith("no token"):
                    states[check] = "warning: the model mixes no positions, so there was nothing to leak"
    return Report(tuple(findings), states, evidence)


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


def _check_mask(subject: _Subject) -> tuple[list[Finding], str]:
    effect = _influence_of(subject.run, subject.ids)
    return _leaks("mask", effect, subject.expect, subject.layers)


def _check_packing(subject: _Subject) -> tuple[list[Finding], str]:
    if not subject.accepts("mask", "position_ids"):
        raise _CannotRun("the model takes no mask and position_ids, so packed rows cannot be told to it")
    length = len(subject.ids)
    lengths = [length // 4, length // 2 - length // 8, length - length // 4 - (length // 2 - length // 8)]
    position_ids = torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0).to(subject.ids.device)
    mask = within(subject.expect, lengths)

    def packed(ids: torch.Tensor) -> torch.Tensor:
        return subject.run(ids, mask=mask, position_ids=position_ids)

    effect = _influence_of(packed, subject.ids)
    findings, evidence = _leaks("packing", effect, mask, subject.layers)
    if findings:
        return findings, evidence
    # No neighbour is seen, so what still differs from the document alone comes from where it lies.
    together = packed(subject.ids.unsqueeze(0))[0]
    start, worst = 0, (0.0, 0)
    wrong = 0
    for n in lengths:
        alone = subject.run(subject.ids[None, start : start + n], mask=subject.expect)[0]
        change = _change(alone, together[start : start + n])
        worst = max(worst, (float(change.max()), start + int(change.argmax())))
        wrong += int((change > _tolerance(alone)).sum())
        start += n
    evidence += f"; alone and packed differ by at most {worst[0]:.2g}"
    if wrong:
        return [Finding("packing", worst[1], None, worst[0], wrong, Cause.POSITIONS_NOT_RESTARTED)], evidence
    return [], evidence


def _check_cache(subject: _Subject) -> tuple[list[Finding], str]:
    if not (hasattr(subject.model, "new_cache") and subject.accepts("cache")):
        raise _CannotRun("the model has no new_cache() or takes no cache")
    ids = subject.ids.unsqueeze(0)
    whole = subject.run(ids)
    worst = 0.0
    for size in (1, 5):
        cache = subject.model.new_cache()
        pieces = torch.cat([subject.run(part, cache=cache) for part in ids.split(size, dim=1)], dim=1)
        change = _change(whole[0], pieces[0])
        worst = max(worst, float(change.max()))
        if wrong := int((change > _tolerance(whole)).sum()):
            finding = Finding("cache", int(change.argmax()), None, float(change.max()), wrong, Cause.CACHE_MASK)
            return [finding], f"one pass against pieces of {size}"
    return [], f"one pass against pieces of 1 and 5 tokens: outputs differ by at most {worst:.2g}"


def _influence_of(run: Run, ids: torch.Tensor) -> torch.Tensor:
    twice = [run(ids.expand(2, len(ids)).clone()) for _ in range(2)]
    if not torch.equal(*twice):
        raise _CannotRun("two equal calls gave different outputs; switch off what is random in the model")
    return influence(run, ids)


def _leaks(check: str, effect: torch.Tensor, mask: Mask, layers: int | None) -> tuple[list[Finding], str]:
    length = len(effect)
    allowed = reach(to_dense(mask.bind(length))[0, 0], layers)
    changed = effect > 0
    leaks = changed & ~allowed
    forbidden = int((~allowed).sum())
    evidence = (
        f"{int((changed & allowed).sum())} allowed influences seen, {int(leaks.sum())} of {forbidden} forbidden ones"
    )
    if not (changed & ~torch.eye(length, dtype=torch.bool)).any():
        return [], "no token influences another position's output"
    if not leaks.any():
        return [], evidence + ", compared bit by bit"
    at = int(torch.where(leaks, effect, -1.0).argmax())
    finding = Finding(
        check,
        at // length,
        at % length,
        float(effect.flatten()[at]),
        int(leaks.sum()),
        _cause(check, leaks, layers),
    )
    return [finding], evidence


def _cause(check: str, leaks: torch.Tensor, layers: int | None) -> Cause | None:
    if check == "packing":
        return Cause.DOCUMENTS_JOINED
    future = torch.ones_like(leaks).triu(1)
    if (leaks & ~future).any():
        return None
    q, k = leaks.nonzero(as_tuple=True)
    # One step too far in each layer reaches as many tokens ahead as there are layers, and one at the very least.
    if int((k - q).max()) <= (layers or 1):
        return Cause.OFF_BY_ONE
    # Attention may saturate, so that some pairs show no bit of change; nine in ten is a missing mask all the same.
    return Cause.NO_MASK if leaks.sum() >= 0.9 * future.sum() else None


def _change(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).double().flatten(1).abs().nan_to_num(nan=torch.inf).amax(-1)


def _tolerance(outputs: torch.Tensor) -> float:
    """Room for another order of summation at another shape: 1e-4 at the scale of the outputs."""
    return 1e-4 * max(1.0, float(outputs.abs().max()))
