"""Which spans of a document are noise: the random segmentation of T5, and the lengths that come of it."""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError

Spans = list[tuple[int, int]]


def noise_spans(length: int, rate: float, mean_span: float, random: np.random.Generator) -> Spans:
    """Half-open spans [start, stop) of noise in a document, in order (T5's `random_spans_noise_mask`).

    Text and noise alternate, text first and noise last, each cut into the same number of pieces, evenly among all
    ways to do so. A document of fewer than two tokens has no noise.
    """
    noise, spans = noise_counts(length, rate, mean_span)
    if not noise:
        return []
    text = _segments(length - noise, spans, random)
    noisy = _segments(noise, spans, random)
    stops = np.cumsum(text + noisy)
    return list(zip((stops - noisy).tolist(), stops.tolist(), strict=True))


def check_noise(rate: float, mean_span: float) -> None:
    """Raise `ArgumentError` unless some of a document can be noise, in spans of this mean length, and some not."""
    if not 0 < rate < 1:
        raise ArgumentError(f"the rate of noise lies between 0 and 1; found {rate!r}; T5's is 0.15")
    if not 1 <= mean_span < float("inf"):
        raise ArgumentError(f"a span has at least one token; found a mean length of {mean_span!r}; T5's is 3")


def noise_counts(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """How many tokens of a document are noise, and in how many spans: both are rounded, not drawn.

    At least one token is noise and at least one is not; each span of noise follows at least one token of text.
    """
    if length < 2:
        return 0, 0
    noise = min(max(round(length * rate), 1), length - 1)
    return noise, min(max(round(noise / mean_span), 1), noise, length - noise)


def corrupted_lengths(length: int, rate: float, mean_span: float, ends: int = 1) -> tuple[int, int]:
    """(tokens of the inputs, tokens of the targets) of a document of `length`, with `ends` end tokens each."""
    noise, spans = noise_counts(length, rate, mean_span)
    alone = length == 1  # nothing is taken out, and one sentinel stands for what goes on
    return length - noise + spans + ends, noise + spans + alone + ends


def longest_document(inputs: int, rate: float, mean_span: float, ends: int = 1) -> int:
    """The longest document whose inputs fit into `inputs` tokens (T5's `random_spans_helper`).

    Raises:
        ArgumentError: not even a document of two tokens fits.
    """
    length = max(inputs - ends, 2)  # sentinels never outnumber what they stand for
    if corrupted_lengths(length, rate, mean_span, ends)[0] > inputs:
        raise ArgumentError(
            f"the shortest corrupted document has {2 + ends} tokens; found room for {inputs}; give more room"
        )
    while corrupted_lengths(length + 1, rate, mean_span, ends)[0] <= inputs:
        length += 1
    return length


def _segments(items: int, count: int, random: np.random.Generator) -> np.ndarray:
    """int64 (count,): the lengths of `count` pieces of at least one item each, evenly among all ways to cut."""
    cuts = np.sort(random.choice(items - 1, count - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=items)
