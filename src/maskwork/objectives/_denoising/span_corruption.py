"""`SpanCorruption`: spans of a document are replaced by sentinels in the source, and spelt out in the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..._shared.numbers import integer
from ...data import as_tokens
from ...errors import ArgumentError
from .._arguments import append_end, check_absent, numpy_generator, optional_token_id, store, token_id
from .._batches.seq2seq_batch import Seq2SeqBatch, collate_pairs
from .._batches.seq2seq_example import Seq2SeqExample, pad_pairs
from .noise_spans import corrupted_lengths, longest_document, mean_span_length, noise_rate, noise_spans
from .sentinels import Order, check_apart, check_sentinels


def corrupt_spans(
    tokens: Sequence[int] | np.ndarray,
    spans: Sequence[tuple[int, int]],
    sentinels: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and the targets of a document whose spans are replaced by sentinels.

    In the inputs a sentinel stands for each span. The targets spell the spans out, each after its sentinel, and end
    with one more sentinel if the document continues after its last span.

    Args:
        tokens: (n,) token ids.
        spans: half-open [start, stop), in order, not empty, with at least one token between two of them.
        sentinels: token ids in the order of their use.

    Raises:
        ArgumentError: spans that break their rule, too few sentinels, or a sentinel among the tokens.

    >>> inputs, targets = corrupt_spans([10, 11, 12, 13, 14], [(1, 3)], sentinels=[99, 98])
    >>> inputs.tolist(), targets.tolist()
    ([10, 99, 13, 14], [99, 11, 12, 98])
    """
    array = as_tokens(tokens)
    starts, stops = np.array(_checked_spans(spans, len(array)), dtype=np.int64).reshape(-1, 2).T
    continues = len(array) > stops.max(initial=0)
    needed = len(starts) + continues
    if needed > len(sentinels):
        raise ArgumentError(
            f"each span has its own sentinel, and so has the text after the last, got {len(sentinels)} sentinels where "
            f"{needed} are needed; pass more, or shorter documents, or make spans longer and rarer"
        )
    sentinels = [token_id(token, "each of the sentinels") for token in sentinels]
    check_absent(array, sentinels, "span corruption")
    ids = np.asarray(sentinels[:needed], dtype=np.int64)
    span_ids, last_id = ids[: len(starts)], ids[len(starts) :]
    # +1 where a span starts, -1 where it stops: the running sum is 1 inside spans
    edges = np.zeros(len(array) + 1, dtype=np.int8)
    edges[starts], edges[stops] = 1, -1
    noise = np.cumsum(edges[:-1]) > 0
    spelt = np.insert(array[noise], np.cumsum(stops - starts) - (stops - starts), span_ids)
    # A sentinel takes the place of its span's first token, and the rest of the span is left out.
    inputs = array.copy()
    inputs[starts], noise[starts] = span_ids, False
    return inputs[~noise], np.concatenate([spelt, last_id])


@dataclass(frozen=True)
class SpanCorruption:
    """Span corruption (T5; Raffel et al. 2020): an encoder reads the text with holes, a decoder fills them.

    The numbers of noise tokens and of spans follow from the document's length, rounded; the positions are drawn.
    Documents begin with text and end with a span, so that n spans use n sentinels. Documents change their length:
    to pack them, make the examples first, then `pack_pairs`.

    Attributes:
        sentinels: token ids in the order of their use, such as those of `sentinels_of(tokenizer)`.
        decoder_start: the token that the decoder begins with; T5 takes its padding token, 0.
        end_token: the token appended to inputs and targets; T5's is 1. None appends nothing.
        rate: the share of tokens that are noise.
        mean_span: the mean length of a span of noise.
        sentinel_order: the order of the sentinels' ids: T5's are descending, and an ascending list is then refused.
            "given" takes any order.

    Raises:
        ArgumentError: no sentinels, reversed or repeated sentinels, a rate outside (0, 1), a mean span below 1.

    >>> objective = SpanCorruption(sentinels=[99, 98, 97], decoder_start=0, end_token=1)
    >>> batch = objective([[10, 11, 12, 13, 14, 15, 16]], torch.Generator().manual_seed(0))
    >>> batch.input_ids.tolist(), batch.targets.tolist()
    ([[10, 11, 12, 13, 14, 15, 99, 1]], [[99, 16, 1]])
    >>> objective.longest_document(512), objective.lengths(568)
    (568, (512, 114))
    """

    sentinels: Sequence[int]
    decoder_start: int
    end_token: int | None
    rate: float = 0.15
    mean_span: float = 3.0
    sentinel_order: Order = "descending"

    def __post_init__(self) -> None:
        store(
            self,
            sentinels=check_sentinels(self.sentinels, self.sentinel_order),
            decoder_start=token_id(self.decoder_start, "decoder_start"),
            end_token=optional_token_id(self.end_token, "end_token"),
            rate=noise_rate(self.rate),
            mean_span=mean_span_length(self.mean_span),
        )
        check_apart(self.sentinels, [self.end_token])

    def __call__(
        self, documents: Sequence[Sequence[int] | np.ndarray], generator: torch.Generator | None = None
    ) -> Seq2SeqBatch:
        """Make a batch of these documents, each in a row of its own, padded on the right.

        Raises:
            ArgumentError: no documents, no generator, too few sentinels, a sentinel in a document.
        """
        return collate_pairs(pad_pairs([self.example(tokens, generator) for tokens in documents]))

    def example(
        self,
        tokens: Sequence[int] | np.ndarray,
        generator: torch.Generator | None = None,
        *,
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> Seq2SeqExample:
        """Make an example of one document, ready to be packed or padded; arguments and errors are those of a call.

        Args:
            tokens: (n,) token ids. A single token has no noise: the target is a sentinel.
            generator: the source of randomness; it moves on by one draw. Not read if there are `spans`.
            spans: the half-open spans of noise, in place of drawn ones.
        """
        array = as_tokens(tokens)
        if spans is None:
            random = numpy_generator(generator, "SpanCorruption")
            spans = noise_spans(len(array), self.rate, self.mean_span, random)
        inputs, targets = corrupt_spans(array, spans, self.sentinels)
        inputs, targets = append_end(inputs, self.end_token), append_end(targets, self.end_token)
        return Seq2SeqExample.of(inputs, targets, self.decoder_start)

    def lengths(self, document: int) -> tuple[int, int]:
        """Return (tokens of the source, tokens of the target) for a document of so many tokens."""
        return corrupted_lengths(document, self.rate, self.mean_span, int(self.end_token is not None))

    def longest_document(self, source: int) -> int:
        """Return the longest document whose source has at most so many tokens; documents of that length fill rows."""
        return longest_document(source, self.rate, self.mean_span, int(self.end_token is not None))


def _checked_spans(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Return the spans as integers, or raise unless they lie in order, apart from one another."""
    checked: list[tuple[int, int]] = []
    before = -1
    for start, stop in spans:
        start, stop = integer(start, "the start of a span"), integer(stop, "the stop of a span")
        if not before < start < stop <= length:
            raise ArgumentError(
                f"spans lie in order in [0, {length}), with a token or more in each and between two of them, got "
                f"({start}, {stop}) after {'nothing' if before < 0 else before}; join those that touch"
            )
        checked.append((start, stop))
        before = stop
    return checked
