"""`Seq2SeqBatch`: what an encoder and a decoder read, what is scored, and the three masks between them.

mask          source sees source      all of its own pair
decoder_mask  target sees target      causally, in its own pair
cross_mask    target sees source      all of its own pair
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...errors import ArgumentError, CannotExpress
from ...masks import Mask, causal, full, match
from .batch import ScoredBatch, check_tensors, labels_of
from .collate import collate
from .seq2seq_example import Seq2SeqRow


@dataclass(frozen=True, eq=False)
class Seq2SeqBatch(ScoredBatch):
    """B rows of S tokens for the encoder and T for the decoder, in each row one pair or several.

    Attributes:
        input_ids: (B, S) int64, what the encoder reads.
        position_ids: (B, S) int64, restarting at 0 in every source.
        document_ids: (B, S) int64, the pair of every position, counted from 0 in each row; -1 on padding.
        mask: the source positions that a source position may see; bind it with `mask.bind(S, batch=B)`.
        decoder_input_ids: (B, T) int64, what the decoder reads.
        decoder_position_ids: (B, T) int64, restarting at 0 in every target.
        decoder_document_ids: (B, T) int64, the pair of every position; -1 on padding.
        decoder_mask: the target positions that a target position may see: `decoder_mask.bind(T, batch=B)`.
        cross_mask: the source positions that a target position may see, those of its own pair:
            `cross_mask.bind(T, S, q_start=0, batch=B)`. Padding of the decoder sees none: an empty row.
        targets: (B, T) int64, aligned with the decoder's logits; -100 where nothing is scored.
        weights: (B, T) float32, how much each target counts; 0 where nothing is scored.
        reasons: (B, T) uint8, a `Reason` for each position of the decoder; or None.

    Raises:
        ArgumentError: a tensor has another shape or dtype, or the two sides have different numbers of rows.

    >>> from maskwork.objectives import SequenceToSequence
    >>> batch = SequenceToSequence(decoder_start=0)([([5, 6, 7], [8, 9]), ([5], [6])])
    >>> batch.decoder_input_ids.tolist(), batch.targets.tolist()
    ([[0, 8], [0, 0]], [[8, 9], [6, -100]])
    >>> batch.cross_mask.bind(2, 3, q_start=0, batch=2).dense().astype(int)[1, 0].tolist()
    [[1, 0, 0], [0, 0, 0]]
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    document_ids: torch.Tensor
    mask: Mask
    decoder_input_ids: torch.Tensor
    decoder_position_ids: torch.Tensor
    decoder_document_ids: torch.Tensor
    decoder_mask: Mask
    cross_mask: Mask
    targets: torch.Tensor
    weights: torch.Tensor
    reasons: torch.Tensor | None = None

    def __post_init__(self) -> None:
        check_tensors(self, "input_ids", _ENCODER)
        check_tensors(self, "decoder_input_ids", _DECODER)
        if len(self.input_ids) != len(self.decoder_input_ids):
            raise ArgumentError(
                f"encoder and decoder read the same rows, got {len(self.input_ids)} and "
                f"{len(self.decoder_input_ids)}; make the batch with collate_pairs"
            )

    def to_hf(self) -> dict[str, torch.Tensor]:
        """Return keyword arguments for an encoder-decoder of transformers (T5, BART), which shifts no labels.

        Returns:
            `input_ids` and `attention_mask` (B, S), `decoder_input_ids`, `decoder_attention_mask` and `labels`
            (B, T), all int64; an attention mask is 1 on tokens and 0 on padding. Models with absolute positions, such
            as BART, count them from the row's start: pad those on the right.

        Raises:
            CannotExpress: several pairs in one row (the model takes one mask for encoder and cross-attention, so that
                it can't say it), masks that are not full, causal and full within a pair, or weights other than 1.

        >>> from maskwork.objectives import SequenceToSequence
        >>> batch = SequenceToSequence(decoder_start=0)([([5, 6, 7], [8, 9]), ([5], [6])])
        >>> batch.to_hf()["labels"].tolist(), batch.to_hf()["attention_mask"].tolist()
        ([[8, 9], [6, -100]], [[1, 1, 1], [1, 0, 0]])
        """
        if int(self.document_ids.max()) > 0:
            raise CannotExpress(
                "transformers gives encoder and cross-attention one mask, which can't keep pairs of a row apart, got "
                f"{int(self.document_ids.max()) + 1} pairs in a row; lay each in its own row with pad_pairs"
            )
        self._check_usual_masks()
        return {
            "input_ids": self.input_ids,
            "attention_mask": (self.document_ids >= 0).long(),
            "decoder_input_ids": self.decoder_input_ids,
            "decoder_attention_mask": (self.decoder_document_ids >= 0).long(),
            "labels": labels_of(self),
        }

    def _check_usual_masks(self) -> None:
        """Raise unless tokens see what transformers' encoder-decoders show them; padding's queries are not compared."""
        ids, decoder_ids = self.document_ids, self.decoder_document_ids
        checks = (
            ("mask", self.mask, full(), ids, ids),
            ("decoder_mask", self.decoder_mask, causal(), decoder_ids, decoder_ids),
            ("cross_mask", self.cross_mask, full(), decoder_ids, ids),
        )
        for name, mask, usual, q_ids, k_ids in checks:
            rows, q_len, k_len = *q_ids.shape, k_ids.shape[1]
            # Clamped ids are 0 at tokens and -1 on padding: every key for a query of a token, none for padding.
            token_queries = match(q_ids.clamp(max=0), torch.zeros(k_len, dtype=torch.int64))
            actual = (mask & token_queries).bind(q_len, k_len, q_start=0, batch=rows)
            if not actual.equals((usual & match(q_ids, k_ids)).bind(q_len, k_len, q_start=0, batch=rows)):
                raise CannotExpress(
                    "transformers' encoder-decoders see everything in the source and causally in the target, got "
                    f"{name} = {mask}; call the model's parts with masks of their own"
                )


def collate_pairs(rows: Sequence[Seq2SeqRow]) -> Seq2SeqBatch:
    """Make a batch of rows of pairs, all of one length on each side.

    Args:
        rows: B rows of S tokens for the encoder and T for the decoder, of `pad_pairs` or `pack_pairs`.

    Raises:
        ArgumentError: no rows, rows of different lengths.

    >>> import numpy as np
    >>> from maskwork.objectives import Seq2SeqExample, pack_pairs
    >>> pairs = [Seq2SeqExample.of(np.array([5] * n), np.array([6, 1]), 0) for n in (2, 1)]
    >>> batch = collate_pairs(list(pack_pairs(pairs, max_source=4, max_target=4)))
    >>> batch.document_ids.tolist(), batch.decoder_document_ids.tolist()
    ([[0, 0, 1, -1]], [[0, 0, 1, 1]])
    """
    # Each side is an ordinary batch; only the mask between the two is new.
    encoder = collate([row.source for row in rows])
    decoder = collate([row.target for row in rows])
    return Seq2SeqBatch(
        input_ids=encoder.input_ids,
        position_ids=encoder.position_ids,
        document_ids=encoder.document_ids,
        mask=encoder.mask,
        decoder_input_ids=decoder.input_ids,
        decoder_position_ids=decoder.position_ids,
        decoder_document_ids=decoder.document_ids,
        decoder_mask=decoder.mask,
        cross_mask=match(decoder.document_ids, encoder.document_ids),
        targets=decoder.targets,
        weights=decoder.weights,
        reasons=decoder.reasons,
    )


#: The tensors of each side and their dtypes.
_ENCODER = {"input_ids": torch.int64, "position_ids": torch.int64, "document_ids": torch.int64}
_DECODER = {
    "decoder_input_ids": torch.int64,
    "decoder_position_ids": torch.int64,
    "decoder_document_ids": torch.int64,
    "targets": torch.int64,
    "weights": torch.float32,
    "reasons": torch.uint8,
}
