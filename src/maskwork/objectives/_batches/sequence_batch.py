"""`SequenceBatch`: one target for each sequence, and the tokens that its class is read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch

from ...errors import ArgumentError
from .batch import ScoredBatch, check_tensors

if TYPE_CHECKING:
    from ...masks import Mask

Read = Literal["last", "first", "mean"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceBatch(ScoredBatch):
    """A batch of B sequences of L positions, each with one target.

    A classifier of transformers takes `input_ids`, `attention_mask=batch.real.long()` and `labels=batch.targets`.

    Attributes:
        input_ids: (B, L) int64, what the model reads.
        targets: (B,) int64, the class of each sequence; -100 where a sequence has none.
        weights: (B,) float32, how much each target counts; 0 where nothing is scored.
        position_ids: (B, L) int64, counted from 0 at the first real token.
        document_ids: (B, L) int64, 0 at real tokens and -1 on padding.
        mask: the keys that each query may see; bind it with `mask.bind(L, batch=B)`.
        read: the real tokens that `pool` reads: the last, the first, or the mean over all.
        reasons: (B,) uint8, a `Reason` for each sequence; or None.

    Raises:
        ArgumentError: a tensor has another shape or dtype, or a sequence has no real token.

    >>> from maskwork.objectives import SequenceClassification
    >>> batch = SequenceClassification(read="last")([([1, 2, 3], 0), ([4], 1)])
    >>> batch.input_ids.tolist(), batch.last.tolist()
    ([[1, 2, 3], [4, 0, 0]], [2, 0])
    """

    input_ids: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    position_ids: torch.Tensor
    document_ids: torch.Tensor
    mask: Mask
    read: Read
    reasons: torch.Tensor | None = None

    def __post_init__(self) -> None:
        check_read(self.read)
        check_tensors(self, "input_ids", _TOKENS)
        check_tensors(self, "input_ids", _SEQUENCES, ndim=1)
        # On the CPU alone, where batches are made: the check would wait for another device.
        if self.document_ids.device.type == "cpu" and not bool(self.real.any(-1).all()):
            raise ArgumentError("a sequence is read at its real tokens, got one without any; leave it out")

    @property
    def real(self) -> torch.Tensor:
        """(B, L) bool: the tokens that are not padding, by position and not by id."""
        return self.document_ids >= 0

    @property
    def lengths(self) -> torch.Tensor:
        """(B,) int64: the number of real tokens of each sequence."""
        return self.real.sum(-1)

    @property
    def first(self) -> torch.Tensor:
        """(B,) int64: the index of each sequence's first real token."""
        return self.real.int().argmax(-1)

    @property
    def last(self) -> torch.Tensor:
        """(B,) int64: the index of each sequence's last real token."""
        return self.real.shape[1] - 1 - self.real.flip(-1).int().argmax(-1)

    def pool(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what a classifier reads, (B, D): `hidden` (B, L, D) at the real tokens that `read` names.

        Padding, on whichever side, changes neither the result nor a gradient, even where it holds NaN. The mean is
        summed in float32 at least.

        Raises:
            ArgumentError: `hidden` is not (B, L, D).

        >>> from maskwork.objectives import SequenceClassification
        >>> hidden = torch.tensor([[[1.0], [3.0]], [[5.0], [float("nan")]]])
        >>> SequenceClassification(read="mean")([([1, 2], 0), ([4], 1)]).pool(hidden).tolist()
        [[2.0], [5.0]]
        """
        if hidden.ndim != 3 or hidden.shape[:2] != self.input_ids.shape:
            raise ArgumentError(
                f"pool reads hidden states (B, L, D) with B and L of input_ids {tuple(self.input_ids.shape)}, "
                f"got {tuple(hidden.shape)}; pass the model's last hidden states"
            )
        if self.read == "mean":
            real = self.real.to(hidden.device)
            dtype = torch.promote_types(hidden.dtype, torch.float32)
            # filled and not multiplied by 0, which would keep NaN
            total = hidden.to(dtype).masked_fill(~real[..., None], 0.0).sum(1)
            return (total / real.sum(-1, keepdim=True)).to(hidden.dtype)
        columns = (self.last if self.read == "last" else self.first).to(hidden.device)
        return hidden[torch.arange(len(hidden), device=hidden.device), columns]


def check_read(read: str) -> None:
    """Raise `ArgumentError` unless `read` names tokens of a sequence."""
    if read not in get_args(Read):
        raise ArgumentError(f"read must be one of {', '.join(get_args(Read))}, got {read!r}")


#: The tensors (B, L) and (B,), with their dtypes.
_TOKENS = {"input_ids": torch.int64, "position_ids": torch.int64, "document_ids": torch.int64}
_SEQUENCES = {"targets": torch.int64, "weights": torch.float32, "reasons": torch.uint8}
