"""`SequenceClassification`: one label for each sequence, read at its last, its first or all of its real tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..data import IGNORED, Reason, Side, as_tokens
from ..errors import ArgumentError
from ..masks import Mask, full
from ._arguments import as_labels, as_weights, label_reasons
from ._batches.collate import unscored_batch
from ._batches.sequence_batch import Read, SequenceBatch, check_read


@dataclass(frozen=True)
class SequenceClassification:
    """Sequence classification: one label for each sequence, from its real tokens alone, whatever side is padded.

    Attributes:
        read: what `SequenceBatch.pool` reads: "last" (a causal model, or an RNN), "first" (BERT's [CLS];
            Devlin et al. 2019) or "mean" over the real tokens.
        mask: what may be seen inside a sequence, everything by default.
        side: the side of the padding.

    Raises:
        ArgumentError: `read` is none of the three.

    >>> batch = SequenceClassification(read="last", side="left")([([1, 2, 3], 0), ([4, 5], None)])
    >>> batch.input_ids.tolist(), batch.targets.tolist(), batch.weights.tolist()
    ([[1, 2, 3], [0, 4, 5]], [0, -100], [1.0, 0.0])
    """

    read: Read
    mask: Mask = field(default_factory=full)
    side: Side = "right"

    def __post_init__(self) -> None:
        check_read(self.read)

    def __call__(self, sequences: Sequence[tuple[Any, ...]], generator: torch.Generator | None = None) -> SequenceBatch:
        """Make a batch of these sequences.

        Args:
            sequences: B of `(tokens, label)` or `(tokens, label, weight)`; a label of None or -100 is missing, a weight
                is a number >= 0.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no sequences, an empty sequence, or a label or a weight that breaks its rule.
        """
        for index, sequence in enumerate(sequences):
            if not isinstance(sequence, tuple) or len(sequence) not in (2, 3):
                raise ArgumentError(
                    f"a sequence is a tuple (tokens, label) or (tokens, label, weight), got "
                    f"{type(sequence).__name__} as sequence {index}; put its tokens and its label together"
                )
        tokens = [as_tokens(sequence[0], index) for index, sequence in enumerate(sequences)]
        # The tokens are an ordinary batch in which nothing is scored; only the targets are one per sequence.
        rows = unscored_batch(tokens, self.mask, self.side)
        labels = as_labels([sequence[1] for sequence in sequences], len(sequences))
        weights = as_weights([sequence[2] if len(sequence) == 3 else 1.0 for sequence in sequences], len(sequences))
        reasons = label_reasons(labels, weights)
        scored = reasons == Reason.SCORED
        return SequenceBatch(
            input_ids=rows.input_ids,
            targets=torch.from_numpy(np.where(scored, labels, IGNORED)),
            weights=torch.from_numpy(np.where(scored, weights, np.float32(0))),
            position_ids=rows.position_ids,
            document_ids=rows.document_ids,
            mask=rows.mask,
            read=self.read,
            reasons=torch.from_numpy(reasons),
        )
