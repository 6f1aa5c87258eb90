"""`Batch`: what a model reads, what is scored, and what may be seen, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.utils.rnn import PackedSequence

from ...data import IGNORED, Reason
from ...errors import CannotExpress
from ...lower import to_dense
from .packed_sequence import pack_documents, unpack_documents
from .scored_batch import ScoredBatch, check_tensors, labels_of

if TYPE_CHECKING:
    from ...data import PackedRow
    from ...masks import Mask


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
        mask: which key each query may see; bind it with `mask.bind(L, batch=B)`.
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
        """Keyword arguments for a model of transformers.

        Args:
            dtype: the model's, for the attention mask.
            shifts_labels: whether the model's own loss shifts the labels, as that of causal models does; False for
                masked language models and taggers, whose targets stand where they are predicted.

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
                "a model that shifts its labels is given next tokens to predict; found other targets, as of masked "
                "language models and taggers, whose models shift nothing; pass shifts_labels=False"
            )
        if shifts_labels and bool(scored[:, -1].any()):
            raise CannotExpress(
                "labels hold the target of position i at i + 1, so the last position can't have one; found a "
                "target in the last column; call the model without labels and use masked_cross_entropy"
            )
        labels = labels_of(self)
        if shifts_labels:
            labels = labels.roll(1, dims=1)
            labels[:, 0] = IGNORED
        rows, length = self.input_ids.shape
        seen = to_dense(self.mask.bind(length, batch=rows), self.input_ids.device)
        additive = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        additive.masked_fill_(~seen, torch.finfo(dtype).min)
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "labels": labels,
            "attention_mask": additive.expand(rows, -1, -1, -1),
        }

    def _not_next(self) -> torch.Tensor:
        """(B, L - 1) bool: the target is not the next token, or the same by chance (a masked one's)."""
        other = self.targets[:, :-1] != self.input_ids[:, 1:]
        if self.reasons is None:
            return other
        masked = torch.tensor([Reason.MASKED, Reason.RANDOM, Reason.KEPT], device=other.device)
        return other | torch.isin(self.reasons[:, :-1], masked)

    def pack_sequence(self, values: torch.Tensor) -> PackedSequence:
        """The documents, without the padding, as what `nn.RNN`, `nn.GRU` and `nn.LSTM` read: each alone from its start.

        Args:
            values: (B, L, …), one for each position, such as embeddings.

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
        """(B, L, …): what `pack_sequence` packed, or what an RNN made of it, each at its position; 0 at padding.

        Raises:
            ArgumentError: its lengths are not those of this batch's documents.
        """
        return unpack_documents(packed, self.document_ids)


class Objective(Protocol):
    """What turns token sequences, or packed rows, into a batch; any randomness comes from `generator`."""

    def __call__(
        self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None
    ) -> Batch: ...


_TENSORS = {
    "input_ids": torch.int64,
    "targets": torch.int64,
    "weights": torch.float32,
    "position_ids": torch.int64,
    "document_ids": torch.int64,
    "reasons": torch.uint8,
}
