"""`SpanCorruption`: spans of a document are replaced by sentinels in the source, and spelt out in the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...data import as_tokens
from ...errors import ArgumentError
from .._arguments import check_absent, check_token, ended
from .._batches.seq2seq_batch import Seq2SeqBatch, collate_pairs
from .._batches.seq2seq_example import Seq2SeqExample, pad_pairs
from .._random import numpy_generator
from .noise_spans import check_noise, corrupted_lengths, longest_document, noise_spans
from .sentinels import Order, check_apart, check_sentinels


def corrupt_spans(
    tokens: Sequence[int] | np.ndarray,
    spans: Sequence[tuple[int, int]],
    sentinels: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """The inputs and the targets of a document whose spans are taken out.

    In the inputs a sentinel stands for each span. The targets spell the spans out, each after its sentinel, and end
    with one more sentinel where the document goes on after its last span.

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
    _check_spans(spans, len(array))
    starts, stops = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    goes_on = len(array) > stops.max(initial=0)
    needed = len(starts) + goes_on
    if needed > len(sentinels):
        raise ArgumentError(
            f"each span has its own sentinel, and so has what follows the last; found {len(sentinels)} sentinels where "
            f"{needed} are needed; pass more, or shorter documents, or make spans longer and rarer"
        )
    check_absent(array, sentinels, "span corruption")
    ids = np.asarray(sentinels[:needed], dtype=np.int64)
    own, last = ids[: len(starts)], ids[len(starts) :]
    edges = np.zeros(len(array) + 1, dtype=np.int8)
    edges[starts], edges[stops] = 1, -1
    noise = np.cumsum(edges[:-1]) > 0
    spelt = np.insert(array[noise], np.cumsum(stops - starts) - (stops - starts), own)
    # A sentinel takes the place of its span's first token, and the rest goes.
    inputs = array.copy()
    inputs[starts], noise[starts] = own, False
    return inputs[~noise], np.concatenate([spelt, last])


@dataclass(frozen=True)
class SpanCorruption:
    """T5's objective (Raffel et al. 2020): an encoder reads the text with holes, a decoder fills them.

    The number of noise tokens and of spans is that of the document's length, rounded; where they lie is drawn.
    Documents begin with text and end with a span, so that n spans use n sentinels. Documents change their length:
    to pack them, make the examples first, then `pack_pairs`.

    Attributes:
        sentinels: token ids in the order of their use; `sentinels_of(tokenizer)` finds them.
        decoder_start: the token that the decoder begins with; T5 takes its padding token, 0.
        end_token: appended to inputs and targets; T5's is 1. None appends nothing.
        rate: the share of tokens that are noise.
        mean_span: the mean length of a span of noise.
        sentinel_order: how the sentinels' ids run: T5's are descending, and a list that runs the other way is refused.
            "given" takes any.

    Raises:
        ArgumentError: no sentinels, reversed or doubled ones, a rate outside (0, 1), a mean span below 1.

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
        object.__setattr__(self, "sentinels", check_sentinels(self.sentinels, self.sentinel_order))
        check_token(self.decoder_start, "decoder_start")
        if self.end_token is not None:
            check_token(self.end_token, "end_token")
        check_apart(self.sentinels, [self.end_token])
        check_noise(self.rate, self.mean_span)

    def __call__(
        self, documents: Sequence[Sequence[int] | np.ndarray], generator: torch.Generator | None = None
    ) -> Seq2SeqBatch:
        """The batch of these documents, each in a row of its own, padded on the right.

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
        """One document, ready to be packed or padded; the arguments and errors are those of a call.

        Args:
            tokens: (n,) token ids. Of a single token nothing is taken out: the target is a sentinel.
            generator: the source of randomness; it moves on by one draw. Not read if spans are given.
            spans: the half-open spans to take out, if they aren't drawn.
        """
        array = as_tokens(tokens)
        if spans is None:
            random = numpy_generator(generator, "SpanCorruption")
            spans = noise_spans(len(array), self.rate, self.mean_span, random)
        inputs, targets = corrupt_spans(array, spans, self.sentinels)
        return Seq2SeqExample.of(ended(inputs, self.end_token), ended(targets, self.end_token), self.decoder_start)

    def lengths(self, document: int) -> tuple[int, int]:
        """(tokens of the source, tokens of the target) that a document of so many tokens becomes."""
        return corrupted_lengths(document, self.rate, self.mean_span, int(self.end_token is not None))

    def longest_document(self, source: int) -> int:
        """The longest document whose source has at most so many tokens: cut documents to it, and rows are full."""
        return longest_document(source, self.rate, self.mean_span, int(self.end_token is not None))


def _check_spans(spans: Sequence[tuple[int, int]], length: int) -> None:
    before = -1
    for start, stop in spans:
        if not before < start < stop <= length:
            raise ArgumentError(
                f"spans lie in order in [0, {length}), with a token or more in each and between two of them; found "
                f"({start}, {stop}) after {'nothing' if before < 0 else before}; join those that touch"
            )
        before = stop
