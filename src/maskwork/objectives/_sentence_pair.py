"""`SentencePair`: BERT's next-sentence prediction, whether the second text follows the first."""

#   input_ids     [CLS] first first [SEP] second [SEP]
#   segment_ids     0     0     0     0     1      1
#   target        1 if the second text follows the first, 0 if it comes from another document

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch

from .._shared.numbers import integer
from ..data import Example, Reason, Side, as_tokens
from ..errors import ArgumentError
from ..masks import Mask, full
from ._arguments import check_absent, numpy_generator, share, store, token_id
from ._batches.batch import Batch
from ._batches.collate import collate, pad, unscored_batch
from ._batches.sequence_batch import SequenceBatch
from ._masked_lm import MaskedLM

Sentences = Sequence[Sequence[int] | np.ndarray]


class TextPair(NamedTuple):
    """Two texts, and whether one follows the other; a plain tuple is the same.

    Attributes:
        first: token ids, without special tokens.
        second: token ids, without special tokens.
        is_next: whether the second text follows the first.
    """

    first: Sequence[int] | np.ndarray
    second: Sequence[int] | np.ndarray
    is_next: bool


class TokenObjective(Protocol):
    """An objective that makes an example of each token sequence, such as `MaskedLM`."""

    def example(self, tokens: Sequence[int] | np.ndarray, generator: torch.Generator | None = None) -> Example: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class SentencePairBatch(SequenceBatch):
    """A batch of B pairs `[CLS] first [SEP] second [SEP]`, with the target 1 if the second text follows, else 0.

    (The label that transformers calls `next_sentence_label` is the opposite: 0 if the text follows.) The other fields
    are those of `SequenceBatch`, read at [CLS].

    Attributes:
        segment_ids: (B, L) int64, 1 at the second text and the [SEP] after it, else 0; BERT's `token_type_ids`.
        masked: the batch of the same tokens whose targets `masked_lm` chose; None without it.
    """

    segment_ids: torch.Tensor
    masked: Batch | None = None


@dataclass(frozen=True)
class SentencePair:
    """Next-sentence prediction (Devlin et al. 2019), read at [CLS].

    `pairs` draws pairs of texts from documents; a call makes a batch of such pairs, or of any others. Pairs that are
    too long lose tokens one by one, always from the longer text, from its front or its back by chance, as in BERT.

    Attributes:
        cls: the id of [CLS].
        sep: the id of [SEP].
        max_len: the most tokens of a pair, the three special ones included.
        masked_lm: an objective that scores tokens of the same batch, `MaskedLM(…)`; its special tokens must include
            `cls` and `sep`, and its mask takes the place of `mask`.
        short: the probability that a pair is drawn shorter than `max_len`.
        mask: what may be seen inside a pair, everything by default.
        side: the side of the padding.

    Raises:
        ArgumentError: a token id, `max_len` or `short` breaks its rule, or a `MaskedLM` could choose `cls` or `sep`.

    >>> objective = SentencePair(cls=1, sep=2, max_len=8)
    >>> batch = objective([TextPair([5, 6], [7], True)], torch.Generator().manual_seed(0))
    >>> batch.input_ids.tolist(), batch.segment_ids.tolist(), batch.targets.tolist()
    ([[1, 5, 6, 2, 7, 2]], [[0, 0, 0, 0, 1, 1]], [1])
    """

    cls: int
    sep: int
    max_len: int
    masked_lm: TokenObjective | None = None
    short: float = 0.1
    mask: Mask = field(default_factory=full)
    side: Side = "right"

    def __post_init__(self) -> None:
        store(
            self,
            cls=token_id(self.cls, "cls"),
            sep=token_id(self.sep, "sep"),
            max_len=integer(self.max_len, "max_len"),
            short=share(self.short, "short"),
        )
        if self.max_len < 5:
            raise ArgumentError(
                f"max_len must be at least 5, three special tokens and one of each text, got {self.max_len}"
            )
        if isinstance(self.masked_lm, MaskedLM) and not {self.cls, self.sep} <= set(self.masked_lm.special_tokens):
            raise ArgumentError(
                f"a pair's [CLS] and [SEP] are never masked, got special_tokens {self.masked_lm.special_tokens} in "
                f"masked_lm; add {self.cls} and {self.sep} to them"
            )

    def pairs(self, documents: Sequence[Sentences], generator: torch.Generator | None = None) -> list[TextPair]:
        """Draw pairs that use every sentence of these documents in a first text or its true continuation.

        Sentences of one document are gathered up to `max_len` and cut in two between sentences, by chance. Half the
        time, and whenever only one sentence was left, the second text is taken from another document instead, and the
        sentences that this text replaces are gathered again.

        Args:
            documents: lists of sentences; a sentence is a list of token ids without special tokens.
            generator: the source of randomness.

        Raises:
            ArgumentError: fewer than two documents, one without sentences, an empty sentence, or no generator.
        """
        rng = numpy_generator(generator, "SentencePair")
        texts = [[as_tokens(sentence) for sentence in document] for document in documents]
        if len(texts) < 2:
            raise ArgumentError(
                f"a text that does not follow comes from another document, got {len(texts)}; pass at least two"
            )
        for index, text in enumerate(texts):
            if not text or not all(len(sentence) for sentence in text):
                raise ArgumentError(
                    f"a document is at least one sentence of at least one token, got document {index} of lengths "
                    f"{[len(sentence) for sentence in text]}; leave out what is empty"
                )
        return [pair for index in range(len(texts)) for pair in self._pairs_of(index, texts, rng)]

    def __call__(self, pairs: Sequence[TextPair], generator: torch.Generator | None = None) -> SentencePairBatch:
        """Make a batch of these pairs.

        Args:
            pairs: B of `TextPair`, or plain tuples of its three fields.
            generator: the source of randomness, of the truncation and of `masked_lm`.

        Raises:
            ArgumentError: no pairs, an empty text, [CLS] or [SEP] in a text, no generator, or a `masked_lm` that
                changes a pair's length.
        """
        rng = numpy_generator(generator, "SentencePair")
        tokens, second = [], []
        for index, pair in enumerate(pairs):
            if not isinstance(pair, tuple) or len(pair) != 3:
                raise ArgumentError(
                    f"a pair is a tuple (first, second, is_next), got {type(pair).__name__} as pair {index}; "
                    "SentencePair.pairs makes them from documents"
                )
            texts = as_tokens(pair[0], index), as_tokens(pair[1], index)
            if not all(len(text) for text in texts):
                raise ArgumentError(f"a pair is two texts, got an empty one in pair {index}; leave it out")
            for text in texts:
                check_absent(text, (self.cls, self.sep), "SentencePair")
            a, b = _truncate(texts, self.max_len - 3, rng)
            tokens.append(np.concatenate([[self.cls], a, [self.sep], b, [self.sep]]))
            second.append(len(b) + 1)  # its [SEP] belongs to the second segment
        if self.masked_lm is None:
            rows, masked = unscored_batch(tokens, self.mask, self.side), None
        else:
            examples = [self.masked_lm.example(pair_tokens, generator) for pair_tokens in tokens]
            lengths = [len(example) for example in examples], [len(pair_tokens) for pair_tokens in tokens]
            if lengths[0] != lengths[1]:
                raise ArgumentError(
                    f"masked_lm must keep a pair's length, got {lengths[0]} of {lengths[1]}; use MaskedLM"
                )
            rows = masked = collate(pad(examples, side=self.side))
        return SentencePairBatch(
            input_ids=rows.input_ids,
            targets=torch.tensor([int(bool(pair[2])) for pair in pairs]),
            weights=torch.ones(len(pairs)),
            position_ids=rows.position_ids,
            document_ids=rows.document_ids,
            mask=rows.mask,
            read="first",
            reasons=torch.full((len(pairs),), Reason.SCORED, dtype=torch.uint8),
            segment_ids=_segments(rows, second),
            masked=masked,
        )

    def _pairs_of(self, index: int, texts: Sequence[Sequence[np.ndarray]], rng: np.random.Generator) -> list[TextPair]:
        """Draw the pairs whose first text comes from document `index`.

        sentences   s0 s1 s2 s3 s4 | s5 ...
                    begin   cut    stop
        is_next     first = s0 s1, second = s2 s3 s4, and the next pair begins at s5
        else        first = s0 s1, second from another document, and the next pair begins at s2
        """
        text, out, begin = texts[index], [], 0
        while begin < len(text):
            most = self.max_len - 3
            goal = int(rng.integers(2, most, endpoint=True)) if rng.random() < self.short else most
            stop = _gather(text, begin, goal)
            cut = begin + 1 if stop - begin == 1 else int(rng.integers(begin + 1, stop))
            first = np.concatenate(text[begin:cut])
            if is_next := stop - begin > 1 and rng.random() < 0.5:
                second, begin = np.concatenate(text[cut:stop]), stop
            else:
                # 1 to len - 1 steps on, so that the document is never the same one
                other = texts[(index + int(rng.integers(1, len(texts)))) % len(texts)]
                start = int(rng.integers(len(other)))
                second, begin = np.concatenate(other[start : _gather(other, start, goal - len(first))]), cut
            out.append(TextPair(first, second, is_next))
        return out


def _gather(text: Sequence[np.ndarray], begin: int, goal: int) -> int:
    """Return the end of as many sentences from `begin` on as reach `goal` tokens, at least one."""
    count, stop = len(text[begin]), begin + 1
    while stop < len(text) and count < goal:
        count += len(text[stop])
        stop += 1
    return stop


def _truncate(texts: tuple[np.ndarray, np.ndarray], most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut both texts to `most` tokens together; each token cut is the longer text's first or last, by chance."""
    lengths = [len(text) for text in texts]
    fronts = [0, 0]
    while sum(lengths) > most:
        longer = int(lengths[1] >= lengths[0])
        fronts[longer] += int(rng.integers(2))
        lengths[longer] -= 1
    return [text[front : front + n] for text, front, n in zip(texts, fronts, lengths, strict=True)]


def _segments(rows: Batch, second: Sequence[int]) -> torch.Tensor:
    """Return the segment ids, (B, L) int64: 1 at each row's last `second` real tokens."""
    real = rows.document_ids >= 0
    first = real.sum(-1) - torch.tensor(second)
    return (real & (rows.position_ids >= first[:, None])).long()
