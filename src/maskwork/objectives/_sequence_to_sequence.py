"""`SequenceToSequence`: predict a target from a source, both given: translation, summaries, instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data import as_tokens
from ..errors import ArgumentError
from ._arguments import check_token, ended
from ._batches.seq2seq_batch import Seq2SeqBatch, collate_pairs
from ._batches.seq2seq_example import Seq2SeqExample, pad_pairs

SourceTarget = tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class SequenceToSequence:
    """The encoder reads the source both ways; the decoder predicts the target from it, token by token.

    The task is that of Sutskever et al. (2014). Teacher forcing: the decoder reads `decoder_start` and then the true
    target, each position predicting the next token. To pack several pairs into a row, make the examples first:
    `collate_pairs(list(pack_pairs(map(objective.example, pairs), max_source, max_target)))`.

    Attributes:
        decoder_start: the token that the decoder begins with; T5 takes its padding token, 0, BART its end token, 2.
        source_end: appended to every source, if given.
        target_end: appended to every target, if given: what teaches a model to stop.

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
        check_token(self.decoder_start, "decoder_start")
        for name in ("source_end", "target_end"):
            if getattr(self, name) is not None:
                check_token(getattr(self, name), name)

    def __call__(self, pairs: Sequence[SourceTarget], generator: torch.Generator | None = None) -> Seq2SeqBatch:
        """The batch of these pairs of a source and a target, each in a row of its own, padded on the right.

        Args:
            pairs: B pairs of token ids.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no pairs, something else than a pair, a side without any token.
        """
        return collate_pairs(pad_pairs([self.example(pair, generator) for pair in pairs]))

    def example(
        self,
        pair: SourceTarget,
        generator: torch.Generator | None = None,
        *,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Seq2SeqExample:
        """One pair, ready to be packed or padded; the arguments and errors are those of a call.

        Args:
            pair: (n,) source and (m,) target token ids.
            generator: not read.
            weights: (m,) floats, how much each target token counts; 0 for a token that is read but not scored. An end
                token appended here counts 1.
        """
        if len(pair) != 2:
            raise ArgumentError(f"a pair is a source and a target; found {len(pair)} of them; pass (source, target)")
        source = ended(as_tokens(pair[0]), self.source_end)
        target = ended(as_tokens(pair[1]), self.target_end)
        worth = None if weights is None else list(weights) + [1.0] * (self.target_end is not None)
        return Seq2SeqExample.of(source, target, self.decoder_start, worth)
