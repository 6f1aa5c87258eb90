"""`TokenTagging`: one label for each token, or for the first piece of each word, at the token's own position."""

#   tokens    [CLS]  un  ##happy  cats  [SEP]
#   words      None   0     0      1    None
#   labels            ADJ          NOUN
#   targets     -    ADJ    -     NOUN    -

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from .._shared.numbers import is_integer
from ..data import IGNORED, Example, Reason, as_tokens
from ..errors import ArgumentError
from ..masks import Mask, full
from ._arguments import as_labels, as_weights, label_reasons
from ._batches.batch import Batch
from ._batches.collate import collate, pad


class Tagged(NamedTuple):
    """A document with its labels; a plain tuple `(tokens, labels)` is the same.

    Attributes:
        tokens: n token ids.
        labels: a label for each token, or for each word if there are `words`; None or -100 for a missing label.
        weights: a number >= 0 for each label; None counts every label once.
        words: the word of each token, counted from 0, None for a special token: the `word_ids()` of a tokenizer of
            transformers. Without `words` every token is a word.
    """

    tokens: Sequence[int] | np.ndarray
    labels: Sequence[int | None] | np.ndarray
    weights: Sequence[float] | np.ndarray | None = None
    words: Sequence[int | None] | None = None


@dataclass(frozen=True)
class TokenTagging:
    """Token tagging: every label is predicted at the position of its token, nothing is shifted.

    For a tagger of transformers call `batch.to_hf(shifts_labels=False)`.

    A missing label has weight 0 and `Reason.MISSING_LABEL`. Where words are cut in pieces, the first piece bears the
    word's label and the others are not scored (Devlin et al. 2019, section 5.3), with `Reason.SUBWORD`.

    Attributes:
        mask: what may be seen inside a document, everything by default.

    >>> batch = TokenTagging()([([5, 6, 7], [0, None, 2]), Tagged([8, 9, 4], [1, 0], words=[0, 0, 1])])
    >>> batch.targets.tolist()
    [[0, -100, 2], [1, -100, 0]]
    >>> [Reason(reason).name for reason in batch.reasons[1].tolist()]
    ['SCORED', 'SUBWORD', 'SCORED']
    """

    mask: Mask = field(default_factory=full)

    def __call__(
        self, documents: Sequence[Tagged | tuple[Any, ...]], generator: torch.Generator | None = None
    ) -> Batch:
        """Make a batch of these documents, padded on the right; for left padding or packing make examples first.

        Args:
            documents: B of `(tokens, labels)`, `(tokens, labels, weights)` or `Tagged`.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no documents, an empty document, labels or weights that don't fit the tokens.
        """
        return collate(pad([self.example(document) for document in documents]))

    def example(self, document: Tagged | tuple[Any, ...], generator: torch.Generator | None = None) -> Example:
        """Make an example of one document, ready to be packed or padded; arguments and errors are those of a call."""
        if not isinstance(document, tuple) or not 2 <= len(document) <= 4:
            raise ArgumentError(
                f"a tagged document is a tuple (tokens, labels), or Tagged, got {type(document).__name__}; "
                "put each document's tokens and labels together"
            )
        tagged = Tagged(*cast(tuple[Any, ...], document))
        tokens = as_tokens(tagged.tokens)
        words: list[int | None] = list(range(len(tokens)) if tagged.words is None else tagged.words)
        first = _first_pieces(words, len(tokens))
        labels = as_labels(tagged.labels, len(first))
        weights = as_weights(tagged.weights, len(first))

        # Only first pieces can be scored: every other position keeps these defaults.
        targets = np.full(len(tokens), IGNORED, dtype=np.int64)
        out = np.zeros(len(tokens), dtype=np.float32)
        reasons = np.full(len(tokens), Reason.SUBWORD, dtype=np.uint8)
        reasons[[word is None for word in words]] = Reason.SPECIAL
        reasons[first] = label_reasons(labels, weights)
        scored = reasons[first] == Reason.SCORED
        targets[first], out[first] = np.where(scored, labels, IGNORED), np.where(scored, weights, 0)
        return Example(tokens, targets, out, self.mask, reasons)


def _first_pieces(words: list[int | None], length: int) -> np.ndarray:
    """Return the position at which each word begins, int64 (words,), or raise `ArgumentError`."""
    if len(words) != length:
        raise ArgumentError(f"words hold one number, or None, for each token, got {len(words)} for {length} tokens")
    first: list[int] = []
    for position, word in enumerate(words):
        if word is None or (first and is_integer(word) and word == len(first) - 1):
            continue  # a special token, or a later piece of the last word
        if not is_integer(word) or word != len(first):
            raise ArgumentError(
                f"words are counted from 0 in the order of the text, got word {word} at token {position} after "
                f"{len(first)} words; number them anew (a word that was truncated away has no label either)"
            )
        first.append(position)
    return np.array(first, dtype=np.int64)
