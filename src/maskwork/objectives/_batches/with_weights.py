"""`with_weights`: multiply the weights of what is scored, by annotators' agreement, redactions or anything else."""

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
    """Return the example or batch with its weights multiplied by `weights`; nothing unscored becomes scored.

    Weights are aligned with targets: where an objective shifts (`CausalLM`, `Chat`), position i weighs the prediction
    of token i + 1. To redact items pass `~redacted` with `Reason.REDACTED`.

    Args:
        scored: an `Example` (n,), a `Batch` (B, L), a `Seq2SeqBatch`, weighed at its targets (B, T), or a
            `SequenceBatch`, whose weights are (B,).
        weights: numbers >= 0, or bools, of the shape of the targets. Weights of unscored positions aren't read and may
            be NaN.
        reason: noted where a weight of 0 takes a target away.

    Raises:
        ArgumentError: weights of another shape or that are no numbers, or a weight of a scored position that is
            negative or not finite.

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
        old = torch.tensor(scored.targets), torch.tensor(scored.weights), torch.tensor(scored.reasons)
        weighed = _weigh(old[0], old[1], old[2], weights, reason)
        targets, products, reasons = (tensor.numpy() for tensor in weighed if tensor is not None)
        return replace(scored, targets=targets, weights=products, reasons=reasons)
    targets, products, reasons = _weigh(scored.targets, scored.weights, scored.reasons, weights, reason)
    return replace(scored, targets=targets, weights=products, reasons=reasons)


def _weigh(
    targets: torch.Tensor,
    old: torch.Tensor,
    reasons: torch.Tensor | None,
    weights: torch.Tensor | np.ndarray | Sequence[float],
    reason: Reason,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return new targets, weights and reasons from the old ones and the factors `weights`."""
    try:
        factors = (weights if isinstance(weights, torch.Tensor) else torch.tensor(np.asarray(weights))).to(old)
    except (TypeError, ValueError, RuntimeError):  # text, ragged lists
        raise ArgumentError(f"weights must be numbers or bools, got {type(weights).__name__}") from None
    if factors.shape != targets.shape:
        raise ArgumentError(
            f"weights must have the targets' shape {tuple(targets.shape)}, got {tuple(factors.shape)}; align them"
        )
    scored = (targets != IGNORED) & (old > 0)
    product = (old * factors).where(scored, 0.0)
    # A product can overflow where its factors are finite.
    if not bool(((product >= 0) & product.isfinite()).all()):
        first = product[~((product >= 0) & product.isfinite())][0].item()
        raise ArgumentError(
            f"weights of scored positions must be finite and at least 0, and so must their products, got {first:g}"
        )
    still_scored = product > 0
    if reasons is not None:
        reasons = reasons.masked_fill(scored & ~still_scored, int(reason))
    return targets.where(still_scored, IGNORED), product, reasons
