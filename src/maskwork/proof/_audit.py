"""`audit`: a model against the mask that it should honour."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch

from ..errors import ArgumentError, MaskworkError
from ..masks import Mask, causal
from ._checks import encoder_decoder as pairs
from ._checks.batch import check_batch, steady
from ._checks.cache import check_cache
from ._checks.determinism import check_determinism, whole_reach
from ._checks.mask import check_mask
from ._checks.packing import check_packing
from ._checks.padding import check_padding
from ._expect import Expected, depth
from ._probes.black_box import Whole
from ._probes.calls import alone
from ._probes.restore import as_found
from ._probes.subject import CannotRun, Subject
from ._probes.survey import Survey, survey
from ._verdicts.outcome import Outcome
from ._verdicts.report import Report

#: Longest sequence audited at once: the work grows with its square.
MAX_LENGTH = 512

CHECKS = ("mask", "padding", "packing", "cache", "batch", "determinism")
USUAL_CHECKS = CHECKS[:5]


def audit(
    model: Any,
    input_ids: torch.Tensor | Sequence[int],
    expect: Mask | Sequence[Mask] | Mapping[str, Mask] | None = None,
    *,
    checks: Sequence[str] = USUAL_CHECKS,
    layers: int | Literal["auto"] = "auto",
    call: Callable[..., Any] | None = None,
) -> Report:
    """Whether `model` honours the mask `expect`; leaks come back as findings, not as errors.

    - `"mask"`: every module that mixes positions is judged one step against the mask, bit by bit and by gradients in
      float64; the whole model against the mask's reach through its layers, forbidden inputs changed together.
    - `"padding"`: real positions come out as without padding, on either side, whatever the padding holds.
    - `"packing"`: three documents in one row come out as each does alone, in each way that the model takes them.
    - `"cache"`: a prefill and single steps, chunks, and a batch of unequal prompts give the outputs of one pass.
    - `"batch"`: a row does not depend on its neighbours, their order or their number, nor on earlier calls.
    - `"determinism"`, when asked for: equal calls agree and nothing leaks in training mode and under each attention
      implementation that the model offers.

    The model is left as it was found: weights, buffers, modes, gradients, hooks and random states.

    Args:
        model: a module or function from int64 ids `(B, L)`, or float embeddings `(B, L, D)`, to `(B, L)` or `(B, L, …)`
            of any dtype, a tuple that starts with it, or an object with `.logits` or `.last_hidden_state`.
        input_ids: int64 `(L,)` or `(1, L)`, at least two of them different, or floats `(L, D)`; 4 to 512 positions.
        expect: the mask of one layer over one sequence, or one for each layer; `causal()` when left out. Where heads
            differ, an output may depend on what any of them sees. An encoder-decoder model has three: a mapping of
            "encoder" (else full), "decoder" (causal) and "cross" (full); one mask alone is the decoder's.
        checks: which to run, at least one.
        layers: through how many layers influence may spread, at least 1; "auto" counts the modules that mix positions.
        call: `call(model, ids)` for models that are called otherwise; then only `"mask"` and `"batch"` can run.

    Raises:
        ArgumentError: an argument breaks its rule, or the model does not return one output per position.
        GridError: the mask does not fit the sequence.

    >>> import torch, maskwork as mw
    >>> model = mw.models.Transformer(mw.models.ModelConfig(
    ...     vocab_size=20, layers=2, width=16, heads=2, kv_heads=1, hidden=16, context=16))
    >>> mw.audit(model, torch.arange(16)).ok
    True
    >>> finding = mw.audit(model, torch.arange(16), mw.sliding_window(2), checks=["mask"]).findings[0]
    >>> finding.module, finding.query, finding.key
    ('blocks.0.attention', 2, 0)
    """
    inputs = _one_sequence(input_ids)
    if isinstance(checks, str) or not checks or any(check not in CHECKS for check in checks):
        raise ArgumentError(f"checks are a list of some of {', '.join(CHECKS)}, got {checks!r}; name at least one")
    if not callable(model if call is None else call):
        name, found = ("the model", model) if call is None else ("call=", call)
        raise ArgumentError(f"{name} must be a module or a function, got {type(found).__name__}; pass what is called")
    subject = Subject(model, call, inputs)
    two = pairs.is_encoder_decoder(subject)
    if isinstance(expect, Mapping) and not two:
        raise ArgumentError("a mapping of masks is for models with decoder_input_ids; pass one mask")
    run = _TwoSequences(subject, expect, depth(layers)) if two else _OneSequence(subject, expect, depth(layers))
    outcomes: dict[str, Outcome] = {}
    states: dict[str, str] = {}
    with as_found(model), torch.no_grad():
        for check in dict.fromkeys(checks):
            try:
                outcomes[check] = run.check(check)
                states[check] = outcomes[check].state
            except CannotRun as reason:
                states[check] = f"cannot run: {reason}"
            except MaskworkError:
                raise
            except Exception as error:  # a stranger's model: whatever it raises is why the check could not run
                said = "".join(f": {line[:200]}" for line in str(error).splitlines()[:1])
                states[check] = f"cannot run: the model raised {type(error).__name__}{said}"
    return Report(
        tuple(finding for outcome in outcomes.values() for finding in outcome.findings),
        states,
        {check: outcome.evidence for check, outcome in outcomes.items()},
        {check: outcome.warning for check, outcome in outcomes.items() if outcome.warning},
    )


class _OneSequence:
    """The checks of a model of one sequence."""

    def __init__(self, subject: Subject, expect: Any, layers: int | Literal["auto"]) -> None:
        self.subject, self.layers = subject, layers
        self.expected = Expected.of(causal() if expect is None else expect, subject.length)
        #: The model as it is, once the check `mask` has found no leak in it.
        self.clear: Whole | None = None

    @cached_property
    def found(self) -> Survey:
        return survey(self.subject, self.expected.suspect)

    @cached_property
    def whole(self) -> Whole:
        return Whole(self.subject)

    @property
    def mask(self) -> Mask:
        masks = dict.fromkeys(self.expected.masks)
        if len(masks) > 1 and self.subject.accepts("mask", "position_ids"):
            raise CannotRun("the layers' masks differ, so that no one mask can be told to the model")
        # A model without this argument builds its masks itself; the checks then need what any of its layers sees.
        return functools.reduce(operator.or_, masks)

    def check(self, name: str) -> Outcome:
        if name == "mask":
            outcome = check_mask(self.subject, self.expected, self.layers, self.found, whole=lambda: self.whole)
            self.clear = self.__dict__.get("whole") if not outcome.findings else None
            return outcome
        if name == "determinism":
            reach = whole_reach(self.subject, self.expected, self.layers, lambda: self.found)
            return check_determinism(self.subject, reach, self.clear)
        # Packed rows are compared with documents alone, which some models take with their ends only.
        steady(self.subject, alone(self.subject, self.mask, self.subject.length) if name == "packing" else {})
        if name == "batch":
            return check_batch(self.subject)
        return {"padding": check_padding, "packing": check_packing, "cache": check_cache}[name](self.subject, self.mask)


class _TwoSequences:
    """The checks of an encoder-decoder model."""

    def __init__(self, subject: Subject, expect: Any, layers: int | Literal["auto"]) -> None:
        self.subject, self.masks = subject, pairs.three_masks(expect)
        self.encoder = _OneSequence(pairs.encoder_view(subject), self.masks["encoder"], layers)
        self.decoder = _OneSequence(pairs.decoder_view(subject), self.masks["decoder"], layers)

    def check(self, name: str) -> Outcome:
        if name == "mask":
            return self._mask()
        if name == "padding":
            return self.encoder.check(name)
        if name == "packing":
            raise CannotRun("packed rows of two sequences are not defined")
        return self.decoder.check(name)

    def _mask(self) -> Outcome:
        parts = {"encoder": self.encoder.check("mask"), "decoder": self.decoder.check("mask")}
        if not any(part.findings for part in parts.values()):
            reaches = [
                side.expected.reach(side.found, side.layers, side.subject.config)[0]
                for side in (self.encoder, self.decoder)
            ]
            parts["cross"] = pairs.check_cross(self.subject, self.masks, *reaches)
        return Outcome(
            [finding for part in parts.values() for finding in part.findings],
            "; ".join(
                f"{name}: {part.evidence.removeprefix('cross: ')}" for name, part in parts.items() if part.evidence
            ),
            "; ".join(f"{name}: {part.warning}" for name, part in parts.items() if part.warning),
        )


def _one_sequence(input_ids: Any) -> torch.Tensor:
    try:
        inputs = torch.as_tensor(input_ids)
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError(
            f"an audit takes one sequence of int64 tokens, got {type(input_ids).__name__}; pass a tensor of them"
        ) from None
    axes = 2 if inputs.is_floating_point() else 1
    inputs = inputs[0] if inputs.ndim == axes + 1 and len(inputs) == 1 else inputs
    if inputs.ndim != axes or not 4 <= len(inputs) <= MAX_LENGTH or not (axes == 2 or inputs.dtype == torch.long):
        raise ArgumentError(
            f"an audit takes one sequence of 4 to {MAX_LENGTH} int64 tokens, got {inputs.dtype} {tuple(inputs.shape)}; "
            "pass one row, cut to length"
        )
    if len(inputs.unique(dim=0)) < 2:
        raise ArgumentError("an audit needs at least two different tokens, to have one to put in another's place")
    return inputs
