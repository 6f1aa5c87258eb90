"""`count_targets`: the targets and weights of a whole step, over accumulation steps and ranks: every loss's divisor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist

from ..data import IGNORED


@dataclass(frozen=True)
class TargetCounts:
    """Sums over everything that a step scores.

    Attributes:
        weight_sum: the sum of the scored positions' weights, the `denominator` of "token_mean".
        n_targets: how many positions are scored; the same number where every weight is 1.
        n_sequences: how many sequences score anything, the `denominator` of "sequence_mean".
    """

    weight_sum: float
    n_targets: int
    n_sequences: int


class Scorable(Protocol):
    """Any batch with targets (..., L) and weights of the same shape, such as `Batch`."""

    @property
    def targets(self) -> torch.Tensor: ...
    @property
    def weights(self) -> torch.Tensor: ...


def count_targets(batches: Iterable[Scorable], group: dist.ProcessGroup | None = None) -> TargetCounts:
    """Count what these batches score, and those of every rank of `group` if `torch.distributed` is initialised.

    One step is then one large batch, however it is cut: pass `denominator=counts.weight_sum` for every part and *sum*
    the parts' gradients over accumulation steps and ranks. `DistributedDataParallel` and FSDP average over ranks
    instead: multiply each loss by the number of ranks (`dist.get_world_size(group)`) and the mean is the sum.

    Args:
        batches: this rank's batches of one step; none where this rank has nothing.
        group: the ranks to add up, all of them by default; every rank must call. One all-reduce of three float64.

    >>> from maskwork.data import pack
    >>> from maskwork.objectives import CausalLM, masked_cross_entropy
    >>> batches = [CausalLM()(list(pack([range(n)], max_len=n))) for n in (3, 9)]
    >>> counts = count_targets(batches)
    >>> counts
    TargetCounts(weight_sum=10.0, n_targets=10, n_sequences=2)
    >>> logits = [torch.zeros(*batch.targets.shape, 16) for batch in batches]
    >>> parts = [
    ...     masked_cross_entropy(x, batch.targets, batch.weights, denominator=counts.weight_sum).loss
    ...     for x, batch in zip(logits, batches)
    ... ]
    >>> round(float(sum(parts)), 4)  # the mean over all ten: log(16)
    2.7726
    """
    # float64 holds every count below 2^53 exactly, so that one tensor, and one all-reduce, carries all three sums
    total = torch.zeros(3, dtype=torch.float64)
    for batch in batches:
        scored = (batch.targets != IGNORED) & (batch.weights > 0)
        # the weight of an ignored target is not read: it may be NaN
        weight_sum = float(batch.weights.where(scored, 0.0).sum(dtype=torch.float64))
        sequences = scored.any(-1) if scored.ndim else scored
        total += torch.tensor([weight_sum, int(scored.sum()), int(sequences.sum())], dtype=torch.float64)
    if dist.is_available() and dist.is_initialized():
        # NCCL reduces only tensors on a GPU.
        total = total.to("cuda" if dist.get_backend(group) == "nccl" else "cpu")
        dist.all_reduce(total, group=group)
    weight_sum, n_targets, n_sequences = total.tolist()
    return TargetCounts(weight_sum, int(n_targets), int(n_sequences))
