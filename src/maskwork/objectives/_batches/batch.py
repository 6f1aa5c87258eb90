"""`Batch`: what a model reads, what is scored and what may be seen; and `ScoredBatch`, the base of all batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import torch
from torch.nn.utils.rnn import PackedSequence

from ...data import IGNORED, Reason
from ...errors import ArgumentError, CannotExpress
from ...lower import to_dense
from .packed_sequence import pack_documents, unpack_documents

if TYPE_CHECKING:
    from ...data import PackedRow
    from ...masks import Mask


class ScoredBatch:
    """A batch, a frozen dataclass, with targets and weights of one shape."""

    targets: torch.Tensor
    weights: torch.Tensor

    @property
    def scored(self) -> torch.Tensor:
        """Bool, shaped like the targets: what counts in the loss."""
        return (self.targets != IGNORED) & (self.weights > 0)

    @property
    def n_targets(self) -> int:
        """The number of scored targets."""
        return int(self.scored.sum())

    @property
    def weight_sum(self) -> float:
        """The sum of the scored targets' weights, the divisor of a mean over this batch."""
        return float(self.weights.double().where(self.scored, 0.0).sum())

    def to(self, device: torch.device | str) -> Self:
        """Return the same batch with its tensors on `device`; masks are values and belong to no device."""
        # A field may be a batch in its turn, as the masked tokens of sentence pairs are.
        fields = {name: value for name, value in vars(self).items() if isinstance(value, (torch.Tensor, ScoredBatch))}
        return replace(cast(Any, self), **{name: value.to(device) for name, value in fields.items()})


@dataclass(frozen=True, eq=False)
class Batch(ScoredBatch):
    """One training or evaluation batch of B rows of L positions.

    Attributes:
        input_ids: (B, L) int64, what the model reads.
        targets: (B, L) int64, aligned with the logits that predict them (already shifted); -100 where nothing
            is scored.
        weights: (B, L) float32, how much each target counts; 0 where nothing is scored.
        position_ids: (B, L) int64, restarting at 0 in every document.
        document_ids: (B, L) int64, counted from 0 in each row; -1 on padding.
        mask: the keys that each query may see; bind it with `mask.bind(L, batch=B)`.
        reasons: (B, L) uint8, a `Reason` for each position, noted by the objective for `mw.explain_batch`; or None.

    Raises:
        ArgumentError: a tensor has another shape or dtype.

    >>> from maskwork.data import PackedRow
    >>> from maskwork.objectives import CausalLM
    >>> import numpy as np
    >>> batch = CausalLM()([PackedRow(tokens=np.arange(5), lengths=(3, 2), padding=0)])
    >>> batch.targets.tolist(), batch.position_ids.tolist(), batch.n_targets
    ([[1, 2, -100, 4, -100]], [[0, 1, 2, 0, 1]], 3)
    """

    input_ids: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    position_ids: torch.Tensor
    document_ids: torch.Tensor
    mask: Mask
    reasons: torch.Tensor | None = None

    def __post_init__(self) -> None:
        check_tensors(self, "input_ids", _TENSORS)

    def to_hf(self, dtype: torch.dtype = torch.float32, *, shifts_labels: bool = True) -> dict[str, torch.Tensor]:
        """Return keyword arguments for a model of transformers.

        Args:
            dtype: the model's, for the attention mask.
            shifts_labels: whether the model's loss shifts the labels, as that of causal models does; False for masked
                language models and taggers, whose targets stand where they are predicted.

        Returns:
            `input_ids`, `position_ids` and `labels` (B, L) int64, and `attention_mask` (B, 1 or H, L, L) of
            `dtype`: 0 where a key may be seen and the dtype's smallest number elsewhere. It is dense, because
            transformers' own (B, L) attention mask can't say that packed documents don't see each other.

        Raises:
            CannotExpress: labels can't say it: a weight other than 1, a target at the last position of a causal
                model; targets that are not the next token (a masked language model's, a tagger's) if shifted.

        >>> from maskwork.data import PackedRow
        >>> from maskwork.objectives import CausalLM
        >>> import numpy as np
        >>> batch = CausalLM()([PackedRow(tokens=np.arange(5), lengths=(3, 2), padding=0)])
        >>> batch.to_hf()["labels"].tolist()
        [[-100, 1, 2, -100, 4]]
        """
        scored = self.scored
        if shifts_labels and bool((scored[:, :-1] & self._not_next()).any()):
            raise CannotExpress(
                "a model that shifts its labels needs next tokens as targets, got other targets, as of masked "
                "language models and taggers, whose models shift nothing; pass shifts_labels=False"
            )
        if shifts_labels and bool(scored[:, -1].any()):
            raise CannotExpress(
                "labels hold the target of position i at i + 1, so the last position can't have one, got a "
                "target in the last column; call the model without labels and use masked_cross_entropy"
            )
        labels = labels_of(self)
        if shifts_labels:
            # targets  [a, b, -100]  ->  labels  [-100, a, b]: the model compares logits[i] with labels[i + 1]
            labels = labels.roll(1, dims=1)
            labels[:, 0] = IGNORED
        rows, length = self.input_ids.shape
        allowed = to_dense(self.mask.bind(length, batch=rows), self.input_ids.device)
        additive = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        # The smallest number and not -inf: transformers adds masks, and -inf - -inf would be NaN.
        additive.masked_fill_(~allowed, torch.finfo(dtype).min)
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "labels": labels,
            "attention_mask": additive.expand(rows, -1, -1, -1),
        }

    def _not_next(self) -> torch.Tensor:
        """Return bool (B, L - 1): the target is not the next token, or equals it by chance (a masked token's)."""
        other = self.targets[:, :-1] != self.input_ids[:, 1:]
        if self.reasons is None:
            return other
        masked = torch.tensor([Reason.MASKED, Reason.RANDOM, Reason.KEPT], device=other.device)
        return other | torch.isin(self.reasons[:, :-1], masked)

    def pack_sequence(self, values: torch.Tensor) -> PackedSequence:
        """Pack the documents, without the padding, into what `nn.RNN`, `nn.GRU` and `nn.LSTM` read.

        An RNN then reads each document alone, from its start.

        Args:
            values: (B, L, …), a value for each position, such as embeddings.

        Returns:
            A sequence per document, row by row; the `h_n` of an RNN over it is in that order too.

        Raises:
            ArgumentError: the shape does not begin with (B, L), or the batch is all padding.

        >>> from maskwork.objectives import CausalLM
        >>> batch = CausalLM()([[5, 6, 7], [8, 9]])
        >>> packed = batch.pack_sequence(batch.input_ids)
        >>> packed.data.tolist(), packed.batch_sizes.tolist()
        ([5, 8, 6, 9, 7], [2, 2, 1])
        >>> batch.unpack_sequence(packed).tolist()
        [[5, 6, 7], [8, 9, 0]]
        """
        return pack_documents(values, self.document_ids)

    def unpack_sequence(self, packed: PackedSequence) -> torch.Tensor:
        """Return (B, L, …) values from what `pack_sequence` packed, or an RNN's output for it; 0 at padding.

        Raises:
            ArgumentError: the sequences' lengths are not those of this batch's documents.
        """
        return unpack_documents(packed, self.document_ids)


def check_tensors(batch: ScoredBatch, like: str, dtypes: Mapping[str, torch.dtype], ndim: int = 2) -> None:
    """Raise `ArgumentError` unless each tensor is None, or has its dtype and the shape of another tensor.

    Args:
        batch: the batch whose fields are checked.
        like: the field whose shape (B, L) the others must have.
        dtypes: the dtype of each field to check.
        ndim: 2 for (B, L), 1 for (B,).
    """
    shape = getattr(batch, like).shape
    for name, dtype in dtypes.items():
        tensor: torch.Tensor | None = getattr(batch, name)
        if tensor is None:
            continue
        if tensor.ndim != ndim or tensor.shape != shape[:ndim] or tensor.dtype != dtype:
            raise ArgumentError(
                f"a batch's {name} must be {dtype} of shape {'(B, L)' if ndim == 2 else '(B,)'} like its {like} "
                f"{tuple(shape)}, got {tensor.dtype} {tuple(tensor.shape)}; convert or reshape it"
            )


def labels_of(batch: ScoredBatch) -> torch.Tensor:
    """Return the targets as transformers' labels, -100 where nothing is scored.

    Raises:
        CannotExpress: a scored position has a weight other than 1.
    """
    if bool((batch.weights[batch.scored] != 1).any()):
        raise CannotExpress(
            "labels say only whether a token is scored, not how much, got weights other than 1; "
            "call the model without labels and use masked_cross_entropy"
        )
    return batch.targets.where(batch.scored, IGNORED)


class Objective(Protocol):
    """A callable from token sequences, or packed rows, to a batch; any randomness comes from `generator`."""

    def __call__(
        self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None
    ) -> Batch: ...


#: The tensors of a `Batch` and their dtypes.
_TENSORS = {
    "input_ids": torch.int64,
    "targets": torch.int64,
    "weights": torch.float32,
    "position_ids": torch.int64,
    "document_ids": torch.int64,
    "reasons": torch.uint8,
}
