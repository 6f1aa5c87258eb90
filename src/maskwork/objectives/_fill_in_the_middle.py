"""`FillInTheMiddle`: a span of the document is moved to its end, so that a causal model learns to fill holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch

from .._shared.numbers import integer
from ..data import IGNORED, Example, Reason, as_tokens
from ..errors import ArgumentError
from ..masks import Mask, causal
from ._arguments import check_absent, numpy_generator, share, store, token_id
from ._batches.batch import Batch
from ._batches.collate import collate, pad
from ._causal_lm import CausalLM


class Encoder(Protocol):
    """A tokenizer from text to token ids, without special tokens."""

    def encode(self, text: str) -> Sequence[int]: ...


@dataclass(frozen=True)
class FillInTheMiddle:
    """Fill-in-the-middle: prefix, middle and suffix in an order that ends with the middle (Bavarian et al. 2022).

    A document is transformed with probability `rate`. Two cuts, evenly drawn, part it into prefix, middle and suffix
    (each may be empty): between characters if the document is text, whose parts are then encoded one by one, so that
    the model learns to continue in the middle of a token; else between tokens. The document is then written as

    - PSM: `<prefix> prefix <suffix> suffix <middle> middle <end>`
    - SPM: `<prefix> <suffix> suffix <middle> prefix middle <end>`, the paper's second variant, which reads as PSM with
      an empty prefix, so that the two train together

    and predicted from left to right. Other documents are written as they are, and `<end>`. A transformed document
    has four tokens more: make the examples first, then pack them.

    Attributes:
        prefix_token, suffix_token, middle_token: the three markers.
        end_token: the token that ends every document, and so every middle.
        rate: the share of documents that are transformed; the paper recommends 0.5 to 0.9.
        spm_rate: the share of transformed documents that are written as SPM.
        loss_on: "all" scores every token but the first, markers included, as the paper does; "text" all but the three
            markers; "middle" the middle and the end. Documents that aren't transformed are scored in full.
        tokenizer: an object whose `encode(text)` turns text into ids, without special tokens; documents that are text
            need a tokenizer.
        mask: what may be seen inside a document, the model's own mask; it must show nothing of the future.

    Raises:
        ArgumentError: a rate, a token id or `loss_on` breaks its rule, two of the four tokens are equal, or the
            tokenizer adds tokens.

    >>> objective = FillInTheMiddle(90, 91, 92, end_token=99, rate=1.0, spm_rate=0.0)
    >>> objective.example([1, 2, 3, 4], torch.Generator().manual_seed(0)).tokens.tolist()
    [90, 1, 2, 3, 4, 91, 92, 99]
    >>> objective.example([1, 2, 3, 4], cuts=(1, 3)).tokens.tolist()
    [90, 1, 91, 4, 92, 2, 3, 99]
    """

    prefix_token: int
    suffix_token: int
    middle_token: int
    end_token: int
    rate: float = 0.5
    spm_rate: float = 0.5
    loss_on: Literal["all", "text", "middle"] = "all"
    tokenizer: Encoder | None = None
    mask: Mask = field(default_factory=causal)

    def __post_init__(self) -> None:
        for name in ("prefix_token", "suffix_token", "middle_token", "end_token"):
            store(self, **{name: token_id(getattr(self, name), name)})
        if len({*self._markers, self.end_token}) < 4:
            raise ArgumentError(
                f"the markers and the end token are four different tokens, got {(*self._markers, self.end_token)}"
            )
        store(self, rate=share(self.rate, "rate"), spm_rate=share(self.spm_rate, "spm_rate"))
        if self.loss_on not in ("all", "text", "middle"):
            raise ArgumentError(f'loss_on must be "all", "text" or "middle", got {self.loss_on!r}')
        added = [] if self.tokenizer is None else self.tokenizer.encode("")
        if len(added):
            raise ArgumentError(
                f"a text's parts are encoded without special tokens, got {list(added)} for the empty text; "
                "pass one whose encode(text) calls it with add_special_tokens=False"
            )

    def __call__(
        self, documents: Sequence[str | Sequence[int] | np.ndarray], generator: torch.Generator | None = None
    ) -> Batch:
        """Make a batch of these documents, each in a row of its own, padded on the right.

        Raises:
            ArgumentError: no documents, no generator, text without a tokenizer, a marker in a document.
        """
        return collate(pad([self.example(document, generator) for document in documents]))

    def example(
        self,
        document: str | Sequence[int] | np.ndarray,
        generator: torch.Generator | None = None,
        *,
        cuts: tuple[int, int] | None = None,
        spm: bool = False,
    ) -> Example:
        """Make an example of one document, ready to be packed or padded; the errors are those of a call.

        Args:
            document: text, or token ids.
            generator: the source of randomness; it moves on by one draw. Not read if there are `cuts`.
            cuts: the ends of prefix and middle, in characters or tokens, to transform the document there.
            spm: with `cuts`, whether to write the document as SPM.
        """
        if not isinstance(document, str):
            document = as_tokens(document)
        if cuts is None:
            # All numbers are drawn for every document, so that the draws do not depend on the rates.
            random = numpy_generator(generator, "FillInTheMiddle")
            transform, spm = random.random() < self.rate, bool(random.random() < self.spm_rate)
            first, second = sorted(random.integers(len(document) + 1, size=2).tolist())
            cuts = (first, second) if transform else None
        else:
            cuts = integer(cuts[0], "the first of cuts"), integer(cuts[1], "the second of cuts")
            if not 0 <= cuts[0] <= cuts[1] <= len(document):
                raise ArgumentError(f"cuts lie in order in [0, {len(document)}], got {cuts}")
        if cuts is None:
            return self._causal(np.append(self._encoded(document), self.end_token))
        first, second = cuts
        prefix, middle, suffix = document[:first], document[first:second], document[second:]
        return self._transformed(self._encoded(prefix), self._encoded(middle), self._encoded(suffix), spm)

    def _transformed(self, prefix: np.ndarray, middle: np.ndarray, suffix: np.ndarray, spm: bool) -> Example:
        """Write the parts in PSM or SPM order, end with the middle, and score what `loss_on` says."""
        pre, suf, mid = ([token] for token in self._markers)
        before = [pre, suf, suffix, mid, prefix] if spm else [pre, prefix, suf, suffix, mid]
        tokens = np.concatenate([*before, middle, [self.end_token]]).astype(np.int64)
        example = self._causal(tokens)
        if self.loss_on == "all":
            return example
        # The target of position i is token i + 1: the position before the middle predicts the middle's first token, and
        # the last position, the end token's, predicts nothing.
        reasons = example.reasons.copy()
        if self.loss_on == "middle":
            reasons[: len(tokens) - len(middle) - 2] = Reason.CONTEXT
        reasons[:-1][np.isin(tokens[1:], self._markers)] = Reason.TEMPLATE
        scored = reasons == Reason.SCORED
        return replace(
            example,
            targets=np.where(scored, example.targets, IGNORED),
            weights=np.where(scored, example.weights, np.float32(0)),
            reasons=reasons,
        )

    def _causal(self, tokens: np.ndarray) -> Example:
        return CausalLM(self.mask).example(tokens)

    def _encoded(self, part: str | np.ndarray) -> np.ndarray:
        if isinstance(part, str):
            if self.tokenizer is None:
                raise ArgumentError(
                    "text is cut between characters and then encoded, got no tokenizer; pass tokenizer=…"
                )
            part = as_tokens(self.tokenizer.encode(part))
        check_absent(part, (*self._markers, self.end_token), "FillInTheMiddle")
        return part

    @property
    def _markers(self) -> tuple[int, int, int]:
        return self.prefix_token, self.suffix_token, self.middle_token
