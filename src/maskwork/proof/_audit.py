"""`audit`: a model against the mask that it should honour."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from ..errors import ArgumentError, MaskworkError
from ..masks import Mask, causal
from ._checks.batch import check_batch, require_steady
from ._checks.cache import check_cache
from ._checks.determinism import check_determinism, known_reach
from ._checks.encoder_decoder import check_cross, decoder_view, encoder_view, three_masks
from ._checks.mask import check_mask
from ._checks.packing import check_packing
from ._checks.padding import check_padding
from ._expect import Expected, layer_count
from ._probes.calling_conventions import alone
from ._probes.subject import CannotRun, Subject, restoring
from ._probes.survey import Survey, survey
from ._probes.whole_model import BlackBox
from ._verdicts.report import Outcome, Report

#: Longest sequence audited at once: the work grows with its square.
MAX_LENGTH = 512

# The checks in the order of the report. The last one runs only when it is named.
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
    """Check whether `model` honours the mask `expect`; leaks are returned as findings, not raised as errors.

    - `"mask"`: every module that mixes positions is judged one step against the mask, bit by bit and by gradients in
      float64; the whole model against the mask's reach through its layers, forbidden inputs changed together.
    - `"padding"`: real positions come out as without padding, on either side, whatever the padding holds.
    - `"packing"`: three documents in one row come out as each does alone, in each way that the model takes them.
    - `"cache"`: a prefill and single steps, chunks, and a batch of unequal prompts give the outputs of one pass.
    - `"batch"`: a row does not depend on its neighbours, their order or their number, nor on earlier calls.
    - `"determinism"`, when named: equal calls agree and nothing leaks in training mode and under each attention
      implementation that the model offers.

    The model is afterwards as it was before: weights, buffers, modes, gradients, hooks and random states.

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
    # A string is a sequence of letters, so it must be refused by its type.
    if isinstance(checks, str) or not checks or any(check not in CHECKS for check in checks):
        raise ArgumentError(f"checks are a list of some of {', '.join(CHECKS)}, got {checks!r}; name at least one")
    if not callable(model if call is None else call):
        name, value = ("the model", model) if call is None else ("call=", call)
        raise ArgumentError(f"{name} must be a module or a function, got {type(value).__name__}; pass what is called")
    subject = Subject(model, call, inputs)
    if isinstance(expect, Mapping) and not subject.is_encoder_decoder:
        raise ArgumentError("a mapping of masks is for models with decoder_input_ids; pass one mask")
    kind = _TwoSequences if subject.is_encoder_decoder else _OneSequence
    checker = kind(subject, expect, layer_count(layers))
    outcomes: dict[str, Outcome] = {}
    states: dict[str, str] = {}
    # A check that cannot run does not stop the others; only a wrong argument is raised.
    with restoring(model), torch.no_grad():
        for check in dict.fromkeys(checks):
            try:
                outcomes[check] = checker.check(check)
                states[check] = outcomes[check].state
            except CannotRun as reason:
                states[check] = f"cannot run: {reason}"
            except MaskworkError:
                raise
            except Exception as error:  # a stranger's model: whatever it raises is why the check could not run
                message = "".join(f": {line[:200]}" for line in str(error).splitlines()[:1])
                states[check] = f"cannot run: the model raised {type(error).__name__}{message}"
    return Report(
        tuple(finding for outcome in outcomes.values() for finding in outcome.findings),
        states,
        {check: outcome.evidence for check, outcome in outcomes.items()},
        {check: outcome.warning for check, outcome in outcomes.items() if outcome.warning},
    )


class _OneSequence:
    """The checks of a model of one sequence; what several checks need is computed once.

    Attributes:
        clean: the whole model, once the check `mask` has shown that it does not leak.
    """

    def __init__(self, subject: Subject, expect: Any, layers: int | Literal["auto"]) -> None:
        self.subject = subject
        self.layers: int | Literal["auto"] = layers
        self.expected = Expected.from_masks(causal() if expect is None else expect, subject.length)
        self.clean: BlackBox | None = None

    @functools.cached_property
    def modules(self) -> Survey:
        """The modules that mix positions, each judged alone."""
        return survey(self.subject, self.expected.suspect)

    @property
    def mask(self) -> Mask:
        """One mask that stands for all layers."""
        masks = dict.fromkeys(self.expected.masks)
        # Padding, packing and a cache change the mask, which a call can pass only once for all layers. A model without
        # this argument builds its masks itself; the checks then need what any of its layers sees.
        if len(masks) > 1 and self.subject.accepts("mask", "position_ids"):
            raise CannotRun("the layers' masks differ, so the model cannot be called with one mask")
        return functools.reduce(operator.or_, masks)

    def check(self, name: str) -> Outcome:
        """Run one check."""
        if name == "mask":
            return self._check_mask()
        if name == "determinism":
            reach = known_reach(self.subject, self.expected, self.layers, lambda: self.modules)
            return check_determinism(self.subject, reach, self.clean)
        # Packed rows are compared with documents alone, which some models take with their ends only.
        options = alone(self.subject, self.mask, self.subject.length) if name == "packing" else {}
        require_steady(self.subject, options)
        if name == "batch":
            return check_batch(self.subject)
        return {"padding": check_padding, "packing": check_packing, "cache": check_cache}[name](self.subject, self.mask)

    def _check_mask(self) -> Outcome:
        # The black box is built only if the modules are clean, and is then used by `determinism` again.
        tried: list[BlackBox] = []

        def black_box() -> BlackBox:
            tried.append(BlackBox(self.subject))
            return tried[0]

        outcome = check_mask(self.subject, self.expected, self.layers, self.modules, black_box)
        self.clean = tried[0] if tried and not outcome.findings else None
        return outcome

    def reach(self) -> torch.Tensor:
        """Return the pairs that may influence through all layers, bool `(L, L)`."""
        return self.expected.reach(self.modules, self.layers, self.subject.config)[0]


class _TwoSequences:
    """The checks of an encoder-decoder model."""

    def __init__(self, subject: Subject, expect: Any, layers: int | Literal["auto"]) -> None:
        self.subject, self.masks = subject, three_masks(expect)
        self.encoder = _OneSequence(encoder_view(subject), self.masks["encoder"], layers)
        self.decoder = _OneSequence(decoder_view(subject), self.masks["decoder"], layers)

    def check(self, name: str) -> Outcome:
        """Run one check, on the part of the model that it is about."""
        if name == "mask":
            return self._check_mask()
        if name == "padding":
            return self.encoder.check(name)
        if name == "packing":
            raise CannotRun("packed rows of two sequences are not defined")
        return self.decoder.check(name)

    def _check_mask(self) -> Outcome:
        parts = {"encoder": self.encoder.check("mask"), "decoder": self.decoder.check("mask")}
        # Across both the reach of either side counts, which holds only where the sides are clean.
        if not any(part.findings for part in parts.values()):
            parts["cross"] = check_cross(self.subject, self.masks, self.encoder.reach(), self.decoder.reach())
        return Outcome(
            [finding for part in parts.values() for finding in part.findings],
            "; ".join(
                f"{name}: {part.evidence.removeprefix('cross: ')}" for name, part in parts.items() if part.evidence
            ),
            "; ".join(f"{name}: {part.warning}" for name, part in parts.items() if part.warning),
        )


def _one_sequence(input_ids: Any) -> torch.Tensor:
    try:
        # as_tensor would move a tensor to the default device
        inputs = input_ids if isinstance(input_ids, torch.Tensor) else torch.as_tensor(input_ids, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError(
            f"an audit takes one sequence of int64 tokens, got {type(input_ids).__name__}; pass a tensor of them"
        ) from None
    # Ids have one axis (L), embeddings two (L, D); one leading axis of batch size 1 is dropped.
    axes = 2 if inputs.is_floating_point() else 1
    inputs = inputs[0] if inputs.ndim == axes + 1 and len(inputs) == 1 else inputs
    if inputs.ndim != axes or not 4 <= len(inputs) <= MAX_LENGTH or not (axes == 2 or inputs.dtype == torch.long):
        raise ArgumentError(
            f"an audit takes one sequence of 4 to {MAX_LENGTH} int64 tokens, got {inputs.dtype} {tuple(inputs.shape)}; "
            "pass one row, cut to length"
        )
    # Equal tokens would be replaced by themselves, which shows nothing.
    if len(inputs.unique(dim=0)) < 2:
        raise ArgumentError("an audit needs at least two different tokens, to have one to put in another's place")
    return inputs
