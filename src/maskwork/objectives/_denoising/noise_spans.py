"""The spans of a document that are noise: T5's random segmentation, and the lengths that follow from it."""

#   document      t t t n n t t n        t: text, n: noise
#   spans              [3, 5)  [7, 8)
#   inputs        t t t <0> t t <1>      a sentinel for each span
#   targets       <0> n n <1> n          each span after its sentinel

from __future__ import annotations

import numpy as np

from ..._shared.numbers import at_least, finite
from ...errors import ArgumentError

#: Half-open spans [start, stop) of tokens, in order.
NoiseSpans = list[tuple[int, int]]


def noise_spans(length: int, rate: float, mean_span: float, random: np.random.Generator) -> NoiseSpans:
    """Draw the half-open spans [start, stop) of noise in a document, in order (T5's `random_spans_noise_mask`).

    Text and noise alternate, text first and noise last, each cut into the same number of pieces, evenly among all
    ways to cut. A document of fewer than two tokens has no noise.
    """
    noise, spans = noise_counts(length, rate, mean_span)
    if not noise:
        return []
    text = _segments(length - noise, spans, random)
    noisy = _segments(noise, spans, random)
    # text[0] noisy[0] text[1] noisy[1] ...: each span of noise ends where the pieces up to it end
    stops = np.cumsum(text + noisy)
    return list(zip((stops - noisy).tolist(), stops.tolist(), strict=True))


def noise_rate(value: object) -> float:
    """Return the share of noise as a `float` in (0, 1), or raise `ArgumentError`."""
    rate = finite(value, "rate")
    if not 0 < rate < 1:
        raise ArgumentError(f"the rate of noise lies between 0 and 1, got {value!r}; T5's is 0.15")
    return rate


def mean_span_length(value: object) -> float:
    """Return the mean length of spans as a `float` of at least 1, or raise `ArgumentError`."""
    length = finite(value, "mean_span")
    if length < 1:
        raise ArgumentError(f"a span has at least one token, got a mean length of {value!r}; T5's is 3")
    return length


def noise_counts(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """Compute how many tokens of a document are noise, and in how many spans: both are rounded, not drawn.

    At least one token is noise and at least one is not; each span of noise follows at least one token of text.
    """
    if length < 2:
        return 0, 0
    noise = min(max(round(length * rate), 1), length - 1)
    return noise, min(max(round(noise / mean_span), 1), noise, length - noise)


def corrupted_lengths(length: int, rate: float, mean_span: float, ends: int = 1) -> tuple[int, int]:
    """Return (tokens of the inputs, tokens of the targets) of a document, with `ends` end tokens each."""
    length = at_least(length, 0, "document")
    noise, spans = noise_counts(length, rate, mean_span)
    single = length == 1  # nothing is noise, and the target is one sentinel
    return length - noise + spans + ends, noise + spans + single + ends


def longest_document(inputs: int, rate: float, mean_span: float, ends: int = 1) -> int:
    """Return the length of the longest document whose inputs fit `inputs` tokens (T5's `random_spans_helper`).

    Raises:
        ArgumentError: not even a document of two tokens fits.
    """
    inputs = at_least(inputs, 0, "source")
    length = max(inputs - ends, 2)  # sentinels never outnumber what they stand for
    if corrupted_lengths(length, rate, mean_span, ends)[0] > inputs:
        raise ArgumentError(
            f"the shortest corrupted document has {2 + ends} tokens, got room for {inputs}; raise the length"
        )
    while corrupted_lengths(length + 1, rate, mean_span, ends)[0] <= inputs:
        length += 1
    return length


def _segments(items: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw the lengths of `count` pieces of at least one item each, int64 (count,), evenly among all ways to cut."""
    # `count - 1` of the `items - 1` gaps between items are cut
    cuts = np.sort(random.choice(items - 1, count - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=items)
