"""`MaskedLM`: some tokens are hidden, and each is predicted at its own position from the rest of its document."""

#   tokens     [CLS]  the  cat  ate  fish  [SEP]
#   chosen                  x         x              rate of the tokens that are not special
#   read       [CLS]  the  [M]  ate  fish  [SEP]     [MASK], a random token or the token itself, by `replace`
#   targets      -     -   cat   -   fish    -

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .._shared.numbers import at_least, finite, is_bool
from ..data import IGNORED, Example, PackedRow, Reason, as_tokens
from ..errors import ArgumentError
from ..masks import full
from ._arguments import as_labels, as_weights, numpy_generator, share, store, token_id
from ._batches.batch import Batch
from ._batches.collate import batch_of


@dataclass(frozen=True)
class MaskedLM:
    """Masked language modelling (BERT; Devlin et al. 2019): choose tokens, hide most of them, predict all chosen ones.

    Every token is chosen with probability `rate`, independently, as transformers' `DataCollatorForLanguageModeling`
    does; where fewer than `min_targets` were chosen, the next tokens in a random order are chosen too. In place of a
    chosen token the model reads the mask token, a random token or the token itself, with the probabilities
    `replace`. A target has the position of its token: nothing is shifted. Inside a document everything may be
    seen; padding is never seen.

    Attributes:
        mask_token: the id that the model reads in place of most chosen tokens.
        vocab_size: token ids lie in [0, vocab_size).
        special_tokens: ids that are never chosen, and never drawn as a replacement, like the mask token itself.
        rate: the probability that a token is chosen.
        replace: the probabilities of mask token, random token and token itself; they sum to 1.
        whole_word: from the tokens (n,) to bool (n,), True where a word starts: whole words are then chosen (each piece
            is replaced by its own draw). `example` also takes `word_ids`.
        min_targets: the least number of tokens to choose in a document, if the document has so many; with whole words,
            words are added until the number is reached. 0 leaves the probabilities as they are, and short documents
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
    # Arrays that follow from the fields above.
    _special: np.ndarray = field(init=False, repr=False, compare=False)
    _drawable: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        store(
            self,
            mask_token=token_id(self.mask_token, "mask_token"),
            vocab_size=at_least(self.vocab_size, 0, "vocab_size"),
            special_tokens=tuple(token_id(token, "each of special_tokens") for token in self.special_tokens),
            rate=share(self.rate, "rate"),
            replace=tuple(finite(probability, "each of replace") for probability in self.replace),
            min_targets=at_least(self.min_targets, 0, "min_targets"),
        )
        if len(self.replace) != 3 or min(self.replace) < 0 or not math.isclose(sum(self.replace), 1, abs_tol=1e-6):
            raise ArgumentError(
                "replace holds the probabilities of mask token, random token and token itself, which sum to 1, "
                f"got {self.replace}; BERT's are (0.8, 0.1, 0.1)"
            )
        if self.mask_token >= self.vocab_size:
            raise ArgumentError(
                f"token ids lie in [0, vocab_size), got mask_token {self.mask_token} with vocab_size "
                f"{self.vocab_size}; count added tokens too: len(tokenizer)"
            )
        special = np.array([self.mask_token, *self.special_tokens], dtype=np.int64)
        # Without random replacements no array as long as the vocabulary is made.
        vocabulary = np.arange(self.vocab_size if self.replace[1] > 0 else 0)
        store(self, _special=special, _drawable=np.setdiff1d(vocabulary, special))
        if self.replace[1] > 0 and not len(self._drawable):
            raise ArgumentError(
                f"random replacements are drawn from tokens that aren't special, got none among {self.vocab_size}; "
                "change vocab_size or special_tokens"
            )

    def __call__(self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None) -> Batch:
        """Make a batch of packed rows, all of one length, or of token sequences, which are padded on the right.

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
        """Make an example of one document of n tokens, ready to be packed or padded.

        Args:
            tokens: (n,) token ids.
            generator: the source of randomness; it moves on by one draw.
            labels: (n,) what to predict where a token is chosen, the token itself if left out. A token whose label is
                None or -100 is never chosen: the model reads the token itself.
            weights: (n,) floats, how much each target counts; a token of weight 0 is never chosen.
            word_ids: (n,) the word of each token, as a fast tokenizer of transformers counts them: whole words are then
                chosen, each a run of one number. A token whose word is None or below 0 is special.

        Raises:
            ArgumentError: as for a call, and arguments of another length.
        """
        array = as_tokens(tokens)
        if len(array) and array.max() >= self.vocab_size:
            raise ArgumentError(
                f"token ids lie in [0, vocab_size = {self.vocab_size}), got {array.max()}; "
                "count added tokens too: len(tokenizer)"
            )
        random = numpy_generator(generator, "MaskedLM")
        answers = array if labels is None else as_labels(labels, len(array))
        token_weights = as_weights(weights, len(array))
        words = self._words(array, word_ids)
        special = np.isin(array, self._special) | (words < 0)
        chosen = self._choose(~special & (answers != IGNORED) & (token_weights > 0), words, random)
        read, kinds = self._replaced(array, random)

        reasons = np.full(len(array), Reason.NOT_CHOSEN, dtype=np.uint8)
        # from the weakest reason to the strongest
        reasons[token_weights == 0] = Reason.ZERO_WEIGHT
        reasons[answers == IGNORED] = Reason.MISSING_LABEL
        reasons[special] = Reason.SPECIAL
        reasons[chosen] = kinds[chosen]
        return Example(
            np.where(chosen, read, array),
            np.where(chosen, answers, IGNORED),
            np.where(chosen, token_weights, np.float32(0)),
            full(),
            reasons,
        )

    def _words(self, tokens: np.ndarray, word_ids: Sequence[int | None] | np.ndarray | None) -> np.ndarray:
        """Number the words, int64 (n,): tokens of one number are chosen together, a token below 0 never."""
        if word_ids is not None:
            if any(is_bool(word) for word in word_ids):  # among integers NumPy silently turns a bool into 0 or 1
                raise ArgumentError("word_ids are the numbers of words, got a bool among them; number the words")
            ids = _aligned([-1 if word is None else word for word in word_ids], len(tokens), "word_ids", "iu")
            # A tokenizer counts the words of a pair's second text from 0 again: a word is a run of one number.
            return np.where(ids < 0, -1, np.cumsum(np.diff(ids, prepend=-1) != 0))
        if self.whole_word is None:
            return np.arange(len(tokens))
        return np.cumsum(_aligned(self.whole_word(tokens), len(tokens), "word starts", "biu"))

    def _choose(self, candidate: np.ndarray, words: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Choose words among the candidate tokens and return their tokens, bool (n,)."""
        ids, word = np.unique(words[candidate], return_inverse=True)
        # One draw a word: below `rate` the word is chosen; the order of the draws fills up to `min_targets`.
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
        """Draw, for every token as if it were chosen, what is read in its place and the `Reason`: (n,) each.

        Drawing for all tokens keeps the numbers of one token independent of the choice of the others.
        """
        draw = random.random(len(tokens))
        masked = draw < self.replace[0]
        drawn = ~masked & (draw < self.replace[0] + self.replace[1])
        read = np.where(masked, self.mask_token, tokens)
        if drawn.any():
            read[drawn] = self._drawable[random.integers(len(self._drawable), size=int(drawn.sum()))]
        kinds = np.full(len(tokens), Reason.KEPT, dtype=np.uint8)
        kinds[masked], kinds[drawn] = Reason.MASKED, Reason.RANDOM
        return read, kinds


def _aligned(values: Sequence[int] | Sequence[bool] | np.ndarray, length: int, name: str, kinds: str) -> np.ndarray:
    """Return the values as int64 (length,), or raise unless NumPy's kind of their dtype is one of `kinds`."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # ragged lists, tensors that need a gradient
        array = np.empty(0, dtype=object)
    if array.shape != (length,) or (length and array.dtype.kind not in kinds):
        raise ArgumentError(
            f"{name} are integers, one for each of the {length} tokens, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)
