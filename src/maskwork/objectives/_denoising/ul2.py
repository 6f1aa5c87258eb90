"""`UL2`: each document draws a denoiser, which replaces short spans, long spans, or its end.

R  regular      a b [..] c d [..] e f        short spans, little of the document
X  extreme      a [........] b [......]      long spans, or much of the document
S  sequential   a b c d e [..........]       the end: the model continues a prefix
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..._shared.numbers import at_least, finite
from ...data import Example, as_tokens
from ...errors import ArgumentError
from .._arguments import append_end, check_absent, numpy_generator, optional_token_id, store
from .._batches.batch import Batch
from .._batches.collate import collate, pad
from .._batches.seq2seq_batch import Seq2SeqBatch, collate_pairs
from .._batches.seq2seq_example import Seq2SeqExample, pad_pairs
from .._prefix_lm import PrefixLM
from .noise_spans import mean_span_length, noise_counts, noise_rate, noise_spans
from .sentinels import Order, check_apart, check_sentinels
from .span_corruption import corrupt_spans


@dataclass(frozen=True)
class Denoiser:
    """A way to corrupt a document.

    Attributes:
        rate: the share of tokens that are noise, in (0, 1).
        mean_span: the mean length of a span; None for sequential denoising, one span at the document's end.
        mode_token: the token before the inputs, which tells the model the denoiser; None adds nothing.
        probability: the share of documents that draw this denoiser, in any unit common to the denoisers of a mixture.

    Raises:
        ArgumentError: a number breaks its rule.

    >>> Denoiser(rate=0.25).spans(8, np.random.default_rng(0))  # sequential: the last quarter
    [(6, 8)]
    """

    rate: float
    mean_span: float | None = None
    mode_token: int | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        store(
            self,
            rate=noise_rate(self.rate),
            mean_span=None if self.mean_span is None else mean_span_length(self.mean_span),
            mode_token=optional_token_id(self.mode_token, "mode_token"),
            probability=finite(self.probability, "probability"),
        )
        if self.probability < 0:
            raise ArgumentError(f"a denoiser's probability is a number of at least 0, got {self.probability!r}")

    def spans(self, length: int, random: np.random.Generator) -> list[tuple[int, int]]:
        """Draw the half-open spans of noise in a document of so many tokens."""
        length = at_least(length, 0, "length")
        if self.mean_span is not None:
            return noise_spans(length, self.rate, self.mean_span, random)
        noise, _ = noise_counts(length, self.rate, mean_span=1)
        return [(length - noise, length)] if noise else []


@dataclass(frozen=True)
class UL2:
    """A mixture of denoisers (Tay et al. 2023): regular (R), extreme (X) and sequential (S), each with a mode token.

    R replaces short spans, little of the document; X long spans or much of the document; S its end, so that the model
    continues a prefix. All three are span corruption (see `corrupt_spans`), S with one span.

    Attributes:
        denoisers: denoisers, at least one with a probability above 0; `UL2.published` returns the paper's seven.
        sentinels: token ids in the order of their use, such as those of `sentinels_of(tokenizer)`.
        decoder_start: the token that the decoder begins with. None for a model without an encoder: inputs and targets
            then become one sequence, a prefix-LM's, whose inputs are read both ways and whose targets are scored.
        end_token: the token appended to the targets, and to the inputs of an encoder; None appends nothing.
        sentinel_order: see `SpanCorruption`.

    Raises:
        ArgumentError: no denoiser has a probability above 0; sentinels or a token id break their rule.

    >>> short, end = Denoiser(0.15, 3, mode_token=50), Denoiser(0.5, mode_token=52)
    >>> objective = UL2([short, end], sentinels=[99, 98, 97], decoder_start=0, end_token=1)
    >>> batch = objective([[10, 11, 12, 13, 14, 15]] * 2, torch.Generator().manual_seed(0))
    >>> batch.input_ids.tolist()
    [[52, 10, 11, 12, 99, 1, 0, 0], [50, 10, 11, 12, 13, 14, 99, 1]]
    """

    denoisers: Sequence[Denoiser]
    sentinels: Sequence[int]
    decoder_start: int | None
    end_token: int | None
    sentinel_order: Order = "descending"

    def __post_init__(self) -> None:
        store(
            self,
            denoisers=tuple(self.denoisers),
            sentinels=check_sentinels(self.sentinels, self.sentinel_order),
            decoder_start=optional_token_id(self.decoder_start, "decoder_start"),
            end_token=optional_token_id(self.end_token, "end_token"),
        )
        if not sum(denoiser.probability for denoiser in self.denoisers):
            raise ArgumentError(
                f"each document draws a denoiser, got {len(self.denoisers)}, none of which can be drawn; "
                "pass some with a probability above 0, such as UL2.published(…)"
            )
        check_apart(self.sentinels, [self.end_token, *(denoiser.mode_token for denoiser in self.denoisers)])

    @staticmethod
    def published(regular: int | None, extreme: int | None, sequential: int | None) -> tuple[Denoiser, ...]:
        """Return the seven denoisers of the paper, all equally likely, with these mode tokens.

        Two are regular (spans of 3 or 8, 15 %), four extreme (spans of 3 or 8, 50 %; of 64, 15 % or 50 %), and one
        sequential (the last quarter).
        """
        spans = ((3, 0.15, regular), (8, 0.15, regular), (3, 0.5, extreme), (8, 0.5, extreme))
        spans += ((64, 0.15, extreme), (64, 0.5, extreme))
        return (*(Denoiser(rate, span, mode) for span, rate, mode in spans), Denoiser(0.25, None, sequential))

    def __call__(
        self, documents: Sequence[Sequence[int] | np.ndarray], generator: torch.Generator | None = None
    ) -> Seq2SeqBatch | Batch:
        """Make a batch of these documents, each in a row of its own, padded on the right; a `Batch` without an encoder.

        Raises:
            ArgumentError: no documents, no generator, too few sentinels, a sentinel or a mode token in a document.
        """
        corrupted = [self._corrupted(tokens, generator) for tokens in documents]
        if self.decoder_start is None:
            return collate(pad([_prefix_example(*parts) for parts in corrupted]))
        return collate_pairs(pad_pairs([self._pair(*parts) for parts in corrupted]))

    def example(
        self, tokens: Sequence[int] | np.ndarray, generator: torch.Generator | None = None
    ) -> Seq2SeqExample | Example:
        """Make an example of one document, ready to be packed or padded; errors as for a call.

        `generator` moves on by one draw.
        """
        parts = self._corrupted(tokens, generator)
        return _prefix_example(*parts) if self.decoder_start is None else self._pair(*parts)

    def _pair(self, inputs: np.ndarray, targets: np.ndarray) -> Seq2SeqExample:
        assert self.decoder_start is not None
        return Seq2SeqExample.of(append_end(inputs, self.end_token), targets, self.decoder_start)

    def _corrupted(
        self, tokens: Sequence[int] | np.ndarray, generator: torch.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a denoiser and return the inputs, with its mode token, and the targets, with the end token."""
        array = as_tokens(tokens)
        random = numpy_generator(generator, "UL2")
        shares = np.array([denoiser.probability for denoiser in self.denoisers])
        denoiser = self.denoisers[random.choice(len(shares), p=shares / shares.sum())]
        # No document may hold any mode token, also not those of the denoisers that were not drawn.
        modes = [other.mode_token for other in self.denoisers if other.mode_token is not None]
        check_absent(array, modes, "UL2")
        inputs, targets = corrupt_spans(array, denoiser.spans(len(array), random), self.sentinels)
        if denoiser.mode_token is not None:
            inputs = np.concatenate([[denoiser.mode_token], inputs])
        return inputs, append_end(targets, self.end_token)


def _prefix_example(inputs: np.ndarray, targets: np.ndarray) -> Example:
    """Make one sequence for a model without an encoder: the inputs are the prefix, the targets the continuation."""
    return PrefixLM(split=len(inputs)).example(np.concatenate([inputs, targets]))
