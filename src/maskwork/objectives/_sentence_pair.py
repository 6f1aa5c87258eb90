"""`SentencePair`: does the second text follow the first? BERT's next-sentence prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ..data import Example, Reason, Side, as_tokens
from ..errors import ArgumentError
from ..masks import Mask, full
from ._arguments import check_absent, check_rate, check_token
from ._batches.batch import Batch
from ._batches.collate import collate, pad
from ._batches.sequence_batch import SequenceBatch
from ._batches.unscored import unscored_batch
from ._masked_lm import MaskedLM
from ._random import numpy_generator

Sentences = Sequence[Sequence[int] | np.ndarray]


class TextPair(NamedTuple):
    """Two texts, and whether one follows the other; a plain tuple says the same.

    Attributes:
        first: token ids, without special ones.
        second: likewise.
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
    """B pairs, `[CLS] first [SEP] second [SEP]` each, with the target 1 where the second text follows and 0 where not.

    (The label that transformers calls `next_sentence_label` is the opposite: 0 where it follows.) The other fields are
    those of `SequenceBatch`, read at [CLS].

    Attributes:
        segment_ids: (B, L) int64, 1 at the second text and the [SEP] after it, else 0; BERT's `token_type_ids`.
        masked: the batch of the same tokens whose targets `masked_lm` chose; None without it.
    """

    segment_ids: torch.Tensor
    masked: Batch | None = None


@dataclass(frozen=True)
class SentencePair:
    """Next-sentence prediction (Devlin et al. 2019), read at [CLS].

    `pairs` draws pairs of texts from documents; a call makes a batch of pairs, drawn so or given. Pairs that are too
    long lose tokens one by one, always from the longer text, from its front or its back by chance, as in BERT.

    Attributes:
        cls: the id of [CLS].
        sep: the id of [SEP].
        max_len: the most tokens of a pair, the three special ones included.
        masked_lm: an objective that scores tokens of the same batch, `MaskedLM(…)`; its special tokens must include
            `cls` and `sep`, and its mask takes the place of this one's.
        short: how often a pair is drawn shorter than `max_len`, by chance.
        mask: what may be seen inside a pair: everything, unless given.
        side: where the padding goes.

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
        check_token(self.cls, "cls")
        check_token(self.sep, "sep")
        if self.max_len < 5:
            raise ArgumentError(
                f"a pair has three special tokens and one of each text: max_len is at least 5; found {self.max_len}; "
                "raise it"
            )
        check_rate(self.short, "short")
        if isinstance(self.masked_lm, MaskedLM) and not {self.cls, self.sep} <= set(self.masked_lm.special_tokens):
            raise ArgumentError(
                f"a pair's [CLS] and [SEP] are never masked; found special_tokens {self.masked_lm.special_tokens} in "
                f"masked_lm; add {self.cls} and {self.sep} to them"
            )

    def pairs(self, documents: Sequence[Sentences], generator: torch.Generator | None = None) -> list[TextPair]:
        """Pairs that use every sentence of these documents as, or for, a first text or its true continuation.

        Sentences of one document are gathered up to `max_len` and cut in two between sentences, by chance. Half the
        time, and whenever only one sentence was left, the second text is taken from another document instead, and the
        sentences that it takes the place of are gathered again.

        Args:
            documents: each a list of sentences, each a list of token ids without special ones.
            generator: what chance is drawn from; it decides everything.

        Raises:
            ArgumentError: fewer than two documents, one without sentences, an empty sentence, or no generator.
        """
        rng = numpy_generator(generator, "SentencePair")
        texts = [[as_tokens(sentence) for sentence in document] for document in documents]
        if len(texts) < 2:
            raise ArgumentError(
                f"a text that does not follow comes from another document; found {len(texts)}; pass at least two"
            )
        for index, text in enumerate(texts):
            if not text or not all(len(sentence) for sentence in text):
                raise ArgumentError(
                    f"a document is at least one sentence of at least one token; found document {index} of lengths "
                    f"{[len(sentence) for sentence in text]}; leave out what is empty"
                )
        return [pair for index in range(len(texts)) for pair in self._pairs_of(index, texts, rng)]

    def __call__(self, pairs: Sequence[TextPair], generator: torch.Generator | None = None) -> SentencePairBatch:
        """The batch of these pairs.

        Raises:
            ArgumentError: no pairs, an empty text, [CLS] or [SEP] in a text, no generator, or a `masked_lm` that
                changes a pair's length.
        """
        rng = numpy_generator(generator, "SentencePair")
        tokens, second = [], []
        for index, pair in enumerate(pairs):
            if not isinstance(pair, tuple) or len(pair) != 3:
                raise ArgumentError(
                    f"a pair is a tuple (first, second, is_next); found {type(pair).__name__} as pair {index}; "
                    "SentencePair.pairs makes them from documents"
                )
            texts = as_tokens(pair[0], index), as_tokens(pair[1], index)
            if not all(len(text) for text in texts):
                raise ArgumentError(f"a pair is two texts; found an empty one in pair {index}; leave it out")
            for text in texts:
                check_absent(text, (self.cls, self.sep), "SentencePair")
            a, b = _truncate(texts, self.max_len - 3, rng)
            tokens.append(np.concatenate([[self.cls], a, [self.sep], b, [self.sep]]))
            second.append(len(b) + 1)
        if self.masked_lm is None:
            rows, masked = unscored_batch(tokens, self.mask, self.side), None
        else:
            examples = [self.masked_lm.example(each, generator) for each in tokens]
            if [len(example) for example in examples] != [len(each) for each in tokens]:
                raise ArgumentError("masked_lm must keep a pair's length; it changes one; use MaskedLM")
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
        text, out, at = texts[index], [], 0
        while at < len(text):
            most = self.max_len - 3
            goal = int(rng.integers(2, most, endpoint=True)) if rng.random() < self.short else most
            stop = _gather(text, at, goal)
            cut = at + 1 if stop - at == 1 else int(rng.integers(at + 1, stop))
            first = np.concatenate(text[at:cut])
            if is_next := stop - at > 1 and rng.random() < 0.5:
                second, at = np.concatenate(text[cut:stop]), stop
            else:
                other = texts[(index + int(rng.integers(1, len(texts)))) % len(texts)]
                start = int(rng.integers(len(other)))
                second, at = np.concatenate(other[start : _gather(other, start, goal - len(first))]), cut
            out.append(TextPair(first, second, is_next))
        return out


def _gather(text: Sequence[np.ndarray], at: int, goal: int) -> int:
    """The end of as many sentences from `at` on as reach `goal` tokens, at least one."""
    count = len(text[at])
    at += 1
    while at < len(text) and count < goal:
        count += len(text[at])
        at += 1
    return at


def _truncate(texts: tuple[np.ndarray, np.ndarray], most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Both texts within `most` tokens together; each token that goes is the longer text's first or last, by chance."""
    lengths = [len(text) for text in texts]
    fronts = [0, 0]
    while sum(lengths) > most:
        longer = int(lengths[1] >= lengths[0])
        fronts[longer] += int(rng.integers(2))
        lengths[longer] -= 1
    return [text[front : front + n] for text, front, n in zip(texts, fronts, lengths, strict=True)]


def _segments(rows: Batch, second: Sequence[int]) -> torch.Tensor:
    """(B, L) int64: 1 at each row's last `second` real tokens."""
    real = rows.document_ids >= 0
    first = real.sum(-1) - torch.tensor(second)
    return (real & (rows.position_ids >= first[:, None])).long()
