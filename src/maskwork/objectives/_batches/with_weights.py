"""`with_weights`: weigh what is scored: annotators' agreement, redacted items, whatever a caller knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from ...data import IGNORED, Example, Reason
from ...errors import ArgumentError
from .batch import Batch
from .seq2seq_batch import Seq2SeqBatch
from .sequence_batch import SequenceBatch

Weighted = TypeVar("Weighted", Example, Batch, Seq2SeqBatch, SequenceBatch)


def with_weights(
    scored: Weighted,
    weights: torch.Tensor | np.ndarray | Sequence[float],
    reason: Reason = Reason.ZERO_WEIGHT,
) -> Weighted:
    """The same example or batch with its weights multiplied by these; what isn't scored never becomes scored.

    Weights stand where targets do: where an objective shifts (`CausalLM`, `Chat`), position i weighs the prediction
    of token i + 1. To redact items pass `~redacted` with `Reason.REDACTED`.

    Args:
        scored: an `Example` (n,), a `Batch` (B, L), a `Seq2SeqBatch`, weighed at its targets (B, T), or a
            `SequenceBatch`, whose weights are (B,).
        weights: numbers >= 0, or bools, of the shape of its targets; where nothing is scored they aren't read, so that
            they may be NaN there.
        reason: noted where a weight of 0 takes a target away.

    Raises:
        ArgumentError: another shape, or a weight of a scored position that is negative or not finite.

    >>> from maskwork.objectives import TokenTagging
    >>> example = TokenTagging().example(([5, 6, 7], [0, None, 2]))
    >>> redacted = with_weights(example, [0.5, 1.0, 0.0], Reason.REDACTED)
    >>> redacted.weights.tolist(), redacted.targets.tolist()
    ([0.5, 0.0, 0.0], [0, -100, -100])
    >>> [Reason(reason).name for reason in redacted.reasons]
    ['SCORED', 'MISSING_LABEL', 'REDACTED']
    """
    if isinstance(scored, Example):
        # Copied: an array may be read-only, which a tensor can't be.
        own = (torch.tensor(array) for array in (scored.targets, scored.weights, scored.reasons))
        new = _weigh(*own, weights, reason)
        targets, out, why = (tensor.numpy() for tensor in new if tensor is not None)
        return replace(scored, targets=targets, weights=out, reasons=why)
    targets, out, why = _weigh(scored.targets, scored.weights, scored.reasons, weights, reason)
    return replace(scored, targets=targets, weights=out, reasons=why)


def _weigh(
    targets: torch.Tensor,
    own: torch.Tensor,
    reasons: torch.Tensor | None,
    weights: torch.Tensor | np.ndarray | Sequence[float],
    reason: Reason,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    factors = (weights if isinstance(weights, torch.Tensor) else torch.tensor(np.asarray(weights))).to(own)
    if factors.shape != targets.shape:
        raise ArgumentError(
            f"weights stand where targets do, {tuple(targets.shape)}; found {tuple(factors.shape)}; align them"
        )
    scored = (targets != IGNORED) & (own > 0)
    product = (own * factors).where(scored, 0.0)
    # A product can overflow where its factors are finite.
    if not bool(((product >= 0) & product.isfinite()).all()):
        raise ArgumentError(
            "weights of scored positions must be finite and at least 0, and so must their products; found others; "
            "mend what made them"
        )
    kept = product > 0
    if reasons is not None:
        reasons = reasons.masked_fill(scored & ~kept, int(reason))
    return targets.where(kept, IGNORED), product, reasons
