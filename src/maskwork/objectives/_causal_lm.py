"""`CausalLM`: predict the next token, never across a document boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import ArgumentError
from ..masks import Mask, causal, within
from ._batch import IGNORED, Batch

if TYPE_CHECKING:
    from ..data import PackedRow


@dataclass(frozen=True)
class CausalLM:
    """Every token is predicted from those before it in its own document.

    The last token of a document predicts nothing (the next token belongs to another document), and padding
    neither predicts nor is predicted. Positions restart at 0 in each document, and so does the mask: the
    batch's is `within(mask, lengths)`.

    Attributes:
        mask: what may be seen inside a document, the model's own mask; it must show nothing of the future.

    >>> from maskwork.data import PackedRow
    >>> import numpy as np
    >>> batch = CausalLM()([PackedRow(tokens=np.array([5, 6, 7, 8, 0, 0]), lengths=(2, 2, 2), padding=2)])
    >>> batch.targets.tolist()
    [[6, -100, 8, -100, -100, -100]]
    >>> batch.document_ids.tolist()
    [[0, 0, 1, 1, -1, -1]]
    """

    mask: Mask = field(default_factory=causal)

    def __call__(self, rows: Sequence[PackedRow], generator: torch.Generator | None = None) -> Batch:
        """The batch of these rows, all of one length.

        Args:
            rows: B packed rows of L tokens.
            generator: not read, since nothing here is random; every objective is called alike.

        Raises:
            ArgumentError: no rows, rows of different lengths, or a mask that shows a later token.
        """
        _check(rows)
        _refuse_future(self.mask, len(rows[0].tokens))
        tokens = np.stack([row.tokens for row in rows]).astype(np.int64, copy=False)
        shape = tokens.shape
        # All documents of all rows in one flat list: two repeats give each position its document and its
        # start.
        counts = np.array([len(row.lengths) for row in rows])
        lengths = np.fromiter(chain.from_iterable(row.lengths for row in rows), dtype=np.int64)
        in_row = np.arange(len(lengths)) - np.repeat(np.cumsum(counts) - counts, counts)
        documents = np.repeat(in_row, lengths).reshape(shape)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        positions = (np.arange(tokens.size) - starts).reshape(shape)

        padding = np.array([row.padding for row in rows])
        documents[np.arange(shape[1]) >= (shape[1] - padding)[:, None]] = -1
        follows = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] >= 0)
        targets = np.full(shape, IGNORED, dtype=np.int64)
        targets[:, :-1] = np.where(follows, tokens[:, 1:], IGNORED)
        return Batch(
            input_ids=torch.from_numpy(tokens),
            targets=torch.from_numpy(targets),
            weights=torch.from_numpy((targets != IGNORED).astype(np.float32)),
            position_ids=torch.from_numpy(positions),
            document_ids=torch.from_numpy(documents),
            mask=within(self.mask, lengths=[list(row.lengths) for row in rows]),
        )


# A pure function of two values that stay the same in every step: proved once, not once per batch.
@lru_cache(maxsize=8)
def _refuse_future(mask: Mask, length: int) -> None:
    verdict = mask.bind(length).subset_of(causal())
    if not verdict:
        *_, query, key = verdict.counterexample or ()
        raise ArgumentError(
            f"a causal objective's mask shows no later token; {mask} lets position {query} see {key}, the "
            "very tokens to predict; intersect it: mask & causal()"
        )


def _check(rows: Sequence[PackedRow]) -> None:
    if not rows:
        raise ArgumentError(
            "a batch needs at least one row; found none; pass packed rows (maskwork.data.pack makes them)"
        )
    length = len(rows[0].tokens)
    for index, row in enumerate(rows):
        if len(row.tokens) != length:
            raise ArgumentError(
                f"the rows of a batch must have one length; row 0 has {length} tokens and row {index} "
                f"{len(row.tokens)}; pack them with one max_len"
            )
