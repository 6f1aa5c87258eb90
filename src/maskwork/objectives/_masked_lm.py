"""`MaskedLM`: some tokens are hidden, and each is predicted where it stands from all the others of its document."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..data import IGNORED, Example, PackedRow, Reason, as_tokens
from ..data._packing.tokens import as_count
from ..errors import ArgumentError
from ..masks import full
from ._arguments import as_weights, check_rate, check_token
from ._batches.batch import Batch
from ._batches.collate import batch_of
from ._labels import as_labels
from ._random import numpy_generator


@dataclass(frozen=True)
class MaskedLM:
    """BERT's objective (Devlin et al. 2019): choose tokens, hide most of them, predict all that were chosen.

    Every token is chosen with probability `rate`, independently, as transformers' `DataCollatorForLanguageModeling`
    does; then, where fewer than `min_targets` were chosen, the next ones in a random order are too. Of the
    chosen tokens the model reads the mask token, a random token or the token itself, with the probabilities
    `replace`. A target stands where its token stood: nothing is shifted. Inside a document everything may be
    seen; padding is never seen.

    Attributes:
        mask_token: what the model reads in place of most chosen tokens.
        vocab_size: token ids lie in [0, vocab_size).
        special_tokens: never chosen, and never drawn as a replacement, like the mask token itself.
        rate: the probability that a token is chosen.
        replace: the probabilities of mask token, random token and token itself; they sum to 1.
        whole_word: from the tokens (n,) to bool (n,), True where a word starts: whole words are then chosen (each piece
            is replaced by its own draw). `example` also takes `word_ids`.
        min_targets: the least number of tokens to choose in a document, as far as it has so many; with whole words,
            words are added until it is reached. 0 leaves the probabilities as they are, and short documents
            without a target.

    Raises:
        ArgumentError: a rate, a probability or a token id breaks its rule, or no token is left to be drawn.

    >>> objective = MaskedLM(mask_token=9, vocab_size=10, special_tokens=(0, 1), rate=0.5)
    >>> example = objective.example([0, 5, 6, 7, 8, 1], torch.Generator().manual_seed(3))
    >>> example.tokens.tolist(), example.targets.tolist()
    ([0, 9, 9, 7, 9, 1], [-100, 5, 6, -100, 8, -100])
    """

    mask_token: int
    vocab_size: int
    special_tokens: Sequence[int] = ()
    rate: float = 0.15
    replace: tuple[float, float, float] = (0.8, 0.1, 0.1)
    whole_word: Callable[[np.ndarray], Sequence[bool] | np.ndarray] | None = None
    min_targets: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "special_tokens", tuple(self.special_tokens))
        check_token(self.mask_token, "mask_token")
        for token in self.special_tokens:
            check_token(token, "each of special_tokens")
        check_rate(self.rate, "rate")
        for name in ("vocab_size", "min_targets"):
            if as_count(getattr(self, name)) < 0:
                raise ArgumentError(f"{name} is a number of tokens, at least 0; found {getattr(self, name)!r}; mend it")
        if len(self.replace) != 3 or min(self.replace) < 0 or not math.isclose(sum(self.replace), 1, abs_tol=1e-6):
            raise ArgumentError(
                "replace holds the probabilities of mask token, random token and token itself, which sum to 1; "
                f"found {self.replace}; BERT's are (0.8, 0.1, 0.1)"
            )
        if self.mask_token >= self.vocab_size:
            raise ArgumentError(
                f"token ids lie in [0, vocab_size); found mask_token {self.mask_token} with vocab_size "
                f"{self.vocab_size}; count added tokens too: len(tokenizer)"
            )
        if self.replace[1] > 0 and not len(self._drawable):
            raise ArgumentError(
                f"random replacements are drawn from tokens that aren't special; found none among {self.vocab_size}; "
                "mend vocab_size or special_tokens"
            )

    def __call__(self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None) -> Batch:
        """The batch of these packed rows, all of one length, or of these token sequences, padded on the right.

        Raises:
            ArgumentError: no rows, rows of different lengths, no generator, a token outside the vocabulary.
        """
        return batch_of(lambda tokens: self.example(tokens, generator), rows)

    def example(
        self,
        tokens: Sequence[int] | np.ndarray,
        generator: torch.Generator | None = None,
        *,
        labels: Sequence[int | None] | np.ndarray | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
        word_ids: Sequence[int | None] | np.ndarray | None = None,
    ) -> Example:
        """One document of n tokens, ready to be packed or padded.

        Args:
            tokens: (n,) token ids.
            generator: the source of randomness; it moves on by one draw.
            labels: (n,) what to predict where a token is chosen, the token itself if left out. A token whose label is
                None or -100 is never chosen: the model reads it as it is.
            weights: (n,) floats, how much each target counts; a token of weight 0 is never chosen.
            word_ids: (n,) the word of each token, as a fast tokenizer of transformers counts them: whole words are then
                chosen, each a run of one number. A token whose word is None or below 0 is special.

        Raises:
            ArgumentError: as for a call, and arguments of another length.
        """
        array = as_tokens(tokens)
        if len(array) and array.max() >= self.vocab_size:
            raise ArgumentError(
                f"token ids lie in [0, vocab_size = {self.vocab_size}); found {array.max()}; "
                "count added tokens too: len(tokenizer)"
            )
        random = numpy_generator(generator, "MaskedLM")
        wanted = array if labels is None else as_labels(labels, len(array))
        worth = as_weights(weights, len(array))
        words = self._words(array, word_ids)
        special = np.isin(array, self._special) | (words < 0)
        chosen = self._choose(~special & (wanted != IGNORED) & (worth > 0), words, random)
        read, kinds = self._replaced(array, random)

        reasons = np.full(len(array), Reason.NOT_CHOSEN, dtype=np.uint8)
        reasons[worth == 0] = Reason.ZERO_WEIGHT
        reasons[wanted == IGNORED] = Reason.MISSING_LABEL
        reasons[special] = Reason.SPECIAL
        reasons[chosen] = kinds[chosen]
        return Example(
            np.where(chosen, read, array),
            np.where(chosen, wanted, IGNORED),
            np.where(chosen, worth, np.float32(0)),
            full(),
            reasons,
        )

    @cached_property
    def _special(self) -> np.ndarray:
        return np.array([self.mask_token, *self.special_tokens], dtype=np.int64)

    @cached_property
    def _drawable(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.vocab_size), self._special)

    def _words(self, tokens: np.ndarray, word_ids: Sequence[int | None] | np.ndarray | None) -> np.ndarray:
        """int64 (n,): tokens of one number are chosen together; below 0 never."""
        if word_ids is not None:
            ids = _aligned([-1 if word is None else word for word in word_ids], len(tokens), "word_ids")
            # A tokenizer counts the words of a pair's second text from 0 again: a word is a run of one number.
            return np.where(ids < 0, -1, np.cumsum(np.diff(ids, prepend=-1) != 0))
        if self.whole_word is None:
            return np.arange(len(tokens))
        return np.cumsum(_aligned(self.whole_word(tokens), len(tokens), "word starts"))

    def _choose(self, candidate: np.ndarray, words: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """bool (n,): the tokens of the chosen words."""
        ids, word = np.unique(words[candidate], return_inverse=True)
        draws = random.random(len(ids))
        order = np.argsort(draws)
        sizes = np.bincount(word, minlength=len(ids))[order]
        before = np.cumsum(sizes) - sizes
        take = np.zeros(len(ids), dtype=bool)
        # Both conditions hold for the first ones in the order, so that the second only ever adds to the first.
        take[order] = (draws[order] < self.rate) | (before < self.min_targets)
        chosen = np.zeros(len(candidate), dtype=bool)
        chosen[candidate] = take[word]
        return chosen

    def _replaced(self, tokens: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(n,) each: what would be read in place of every token if it were chosen, and the `Reason` that says how."""
        draw = random.random(len(tokens))
        masked = draw < self.replace[0]
        drawn = ~masked & (draw < self.replace[0] + self.replace[1])
        read = np.where(masked, self.mask_token, tokens)
        if drawn.any():
            read[drawn] = self._drawable[random.integers(len(self._drawable), size=int(drawn.sum()))]
        kinds = np.full(len(tokens), Reason.KEPT, dtype=np.uint8)
        kinds[masked], kinds[drawn] = Reason.MASKED, Reason.RANDOM
        return read, kinds


def _aligned(values: Sequence[int] | Sequence[bool] | np.ndarray, length: int, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != (length,) or (length and array.dtype.kind not in "biu"):
        raise ArgumentError(
            f"{name} are integers, one for each of the {length} tokens; found {array.dtype} of shape {array.shape}; "
            "give each token its own"
        )
    return array.astype(np.int64)
