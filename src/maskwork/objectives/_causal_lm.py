"""`CausalLM`: predict the next token, never across a document boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from ..data import IGNORED, Example, PackedRow, Reason, as_tokens
from ..errors import ArgumentError
from ..masks import Mask, causal
from ._batches.batch import Batch
from ._batches.collate import batch_of


@dataclass(frozen=True)
class CausalLM:
    """Next-token prediction: every token from those before it in its document (GPT; Radford et al. 2018).

    The last token of a document predicts nothing (the next token belongs to another document), and padding
    neither predicts nor is predicted. Positions restart at 0 in each document, and so does the mask: the
    batch's is `within(mask, lengths)`.

        tokens     5  6  7 | 8  9
        targets    6  7  - | 9  -

    Attributes:
        mask: what may be seen inside a document, the model's own mask; it must show nothing of the future, and a
            call refuses a mask that does.

    >>> from maskwork.data import PackedRow
    >>> import numpy as np
    >>> batch = CausalLM()([PackedRow(tokens=np.array([5, 6, 7, 8, 0, 0]), lengths=(2, 2, 2), padding=2)])
    >>> batch.targets.tolist()
    [[6, -100, 8, -100, -100, -100]]
    >>> batch.document_ids.tolist()
    [[0, 0, 1, 1, -1, -1]]
    """

    mask: Mask = field(default_factory=causal)

    def __call__(self, rows: Sequence[PackedRow | Sequence[int]], generator: torch.Generator | None = None) -> Batch:
        """Make a batch of packed rows, all of one length, or of token sequences, which are padded on the right.

        Args:
            rows: B rows of L tokens.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no rows, rows of different lengths, or a mask that shows a later token.
        """
        return batch_of(self.example, rows)

    def example(self, tokens: Sequence[int] | np.ndarray, generator: torch.Generator | None = None) -> Example:
        """Make an example of one document, ready to be packed or padded; arguments and errors are those of a call."""
        array = as_tokens(tokens)
        refuse_future(self.mask, len(array))
        targets = np.full(len(array), IGNORED, dtype=np.int64)
        targets[:-1] = array[1:]  # shifted here, once: losses compare position i with position i
        # the last position keeps -100: the token that follows belongs to another document
        reasons = np.full(len(array), Reason.SCORED, dtype=np.uint8)
        reasons[-1:] = Reason.DOCUMENT_END
        return Example(array, targets, (targets != IGNORED).astype(np.float32), self.mask, reasons)


def refuse_future(mask: Mask, length: int) -> None:
    """Raise `ArgumentError` if the mask shows a later token in a document of `length` tokens."""
    # Documents come by the million with one mask: most masks need no proof, and a proof is cached.
    if _has_causal_operand(mask):
        return
    pair = _first_future_pair(mask, length)
    if pair is not None:
        raise ArgumentError(
            f"a causal objective's mask shows no later token, got {mask}, which lets position {pair[0]} see {pair[1]}, "
            "the very tokens to predict; intersect it: mask & causal()"
        )


@lru_cache(maxsize=64)
def _has_causal_operand(mask: Mask) -> bool:
    """Return whether the mask is `causal()`, or an intersection with it: such a mask shows no later token."""
    return (mask & causal()) == mask  # masks are compared after merging equal operands


@lru_cache(maxsize=512)
def _first_future_pair(mask: Mask, length: int) -> tuple[int, int] | None:
    """Find the first (query, key) with a key after its query that the mask shows in `length` tokens, or None."""
    verdict = mask.bind(length).subset_of(causal())
    if verdict.counterexample is None:
        return None
    _, _, query, key = verdict.counterexample
    return query, key
