"""`SequenceToSequence`: predict a target from a source: translation, summaries, instructions.

encoder reads     source source source <source_end>
decoder reads     <decoder_start> t0 t1 t2
and predicts      t0              t1 t2 <target_end>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data import as_tokens
from ..errors import ArgumentError
from ._arguments import append_end, optional_token_id, store, token_id
from ._batches.seq2seq_batch import Seq2SeqBatch, collate_pairs
from ._batches.seq2seq_example import Seq2SeqExample, pad_pairs

SourceTarget = tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class SequenceToSequence:
    """Sequence to sequence (Sutskever et al. 2014): an encoder reads the source, a decoder predicts the target.

    The encoder sees the source both ways. Teacher forcing: the decoder reads `decoder_start` and then the true
    target, each position predicting the next token. To pack several pairs into a row, make the examples first:
    `collate_pairs(list(pack_pairs(map(objective.example, pairs), max_source, max_target)))`.

    Attributes:
        decoder_start: the token that the decoder begins with; T5 takes its padding token, 0, BART its end token, 2.
        source_end: the token appended to every source; None appends nothing.
        target_end: the token appended to every target, which teaches a model to stop; None appends nothing.

    Raises:
        ArgumentError: a token id breaks its rule.

    >>> batch = SequenceToSequence(decoder_start=0, target_end=1)([([5, 6, 7], [8, 9])])
    >>> batch.input_ids.tolist(), batch.decoder_input_ids.tolist(), batch.targets.tolist()
    ([[5, 6, 7]], [[0, 8, 9]], [[8, 9, 1]])
    """

    decoder_start: int
    source_end: int | None = None
    target_end: int | None = None

    def __post_init__(self) -> None:
        store(
            self,
            decoder_start=token_id(self.decoder_start, "decoder_start"),
            source_end=optional_token_id(self.source_end, "source_end"),
            target_end=optional_token_id(self.target_end, "target_end"),
        )

    def __call__(self, pairs: Sequence[SourceTarget], generator: torch.Generator | None = None) -> Seq2SeqBatch:
        """Make a batch of pairs of a source and a target, each in a row of its own, padded on the right.

        Args:
            pairs: B pairs of token ids.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no pairs, an element that is no pair, or a side without any token.
        """
        return collate_pairs(pad_pairs([self.example(pair, generator) for pair in pairs]))

    def example(
        self,
        pair: SourceTarget,
        generator: torch.Generator | None = None,
        *,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Seq2SeqExample:
        """Make an example of one pair, ready to be packed or padded; arguments and errors are those of a call.

        Args:
            pair: (n,) source and (m,) target token ids.
            generator: not read.
            weights: (m,) floats, how much each target token counts; 0 for a token that is read but not scored. An
                appended end token counts 1.
        """
        if len(pair) != 2:
            raise ArgumentError(f"a pair is a source and a target, got {len(pair)} of them; pass (source, target)")
        source = append_end(as_tokens(pair[0]), self.source_end)
        target = append_end(as_tokens(pair[1]), self.target_end)
        # the caller's weights do not cover the end token
        target_weights = None if weights is None else list(weights) + [1.0] * (self.target_end is not None)
        return Seq2SeqExample.of(source, target, self.decoder_start, target_weights)
