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
    """Every token is predicted from those before it in its own document (GPT; Radford et al. 2018).

    The last token of a document predicts nothing (the next token belongs to another document), and padding
    neither predicts nor is predicted. Positions restart at 0 in each document, and so does the mask: the
    batch's is `within(mask, lengths)`.

    Attributes:
        mask: what may be seen inside a document, the model's own mask; it must show nothing of the future, and a
            call refuses one that does.

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
        """The batch of these packed rows, all of one length, or of these token sequences, padded on the right.

        Args:
            rows: B rows of L tokens.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no rows, rows of different lengths, or a mask that shows a later token.
        """
        return batch_of(self.example, rows)

    def example(self, tokens: Sequence[int] | np.ndarray, generator: torch.Generator | None = None) -> Example:
        """One document, ready to be packed or padded; the arguments and errors are those of a call."""
        array = as_tokens(tokens)
        refuse_future(self.mask, len(array))
        targets = np.full(len(array), IGNORED, dtype=np.int64)
        targets[:-1] = array[1:]
        reasons = np.full(len(array), Reason.SCORED, dtype=np.uint8)
        reasons[-1:] = Reason.DOCUMENT_END
        return Example(array, targets, (targets != IGNORED).astype(np.float32), self.mask, reasons)


def refuse_future(mask: Mask, length: int) -> None:
    """Raise where the mask shows a later token of a document of that length."""
    proved = _proved(mask)
    if length <= proved[0]:
        return
    verdict = mask.bind(length).subset_of(causal())
    if not verdict:
        *_, query, key = verdict.counterexample or ()
        raise ArgumentError(
            f"a causal objective's mask shows no later token; {mask} lets position {query} see {key}, the "
            "very tokens to predict; intersect it: mask & causal()"
        )
    proved[0] = length


@lru_cache(maxsize=8)
def _proved(mask: Mask) -> list[int]:
    """The longest document for which the mask was proved: a longer one never changes a cell of a shorter."""
    return [0]
