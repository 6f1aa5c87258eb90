"""From examples to a batch: `pad` lays each in a row of its own, `collate` makes tensors and the mask of rows."""

#   examples   [5 6 7]  [8 9]
#   pad        [5 6 7]              [8 9 0]
#   collate    input_ids            document_ids         position_ids        mask
#              [[5 6 7]             [[0 0  0]            [[0 1 2]            within each block:
#               [8 9 0]]             [0 0 -1]]            [0 1 0]]           3 | 2, 1 (padding sees itself)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch

from ..._shared.numbers import at_least
from ...data import IGNORED, Example, PackedRow, Reason, Side, as_tokens
from ...errors import ArgumentError
from ...masks import Mask, full, per_row, within
from .batch import Batch


def pad(examples: Sequence[Example], *, side: Side = "right", multiple_of: int = 1) -> list[PackedRow]:
    """Lay each example in a row of its own, as long as the longest, rounded up to a multiple of `multiple_of`.

    Args:
        examples: at least one, of at least one token each.
        side: the side of the padding.
        multiple_of: the length of the rows is a multiple of it.

    Raises:
        ArgumentError: no examples, an empty one, a side that is neither "right" nor "left".

    >>> from maskwork.objectives import CausalLM
    >>> rows = pad([CausalLM().example([5, 6, 7]), CausalLM().example([8, 9])], side="left")
    >>> [row.tokens.tolist() for row in rows], [row.lengths for row in rows]
    ([[5, 6, 7], [0, 8, 9]], [(3,), (1, 2)])
    """
    if side not in ("right", "left"):
        raise ArgumentError(f'side must be "right" or "left", got {side!r}')
    multiple = at_least(multiple_of, 1, "multiple_of")
    if not examples:
        raise ArgumentError("a batch needs at least one example, got none")
    length = max(len(example) for example in examples)
    length += -length % multiple
    return [PackedRow.of([example], length, side) for example in examples]


def collate(rows: Sequence[PackedRow]) -> Batch:
    """Make a batch of rows that were made of examples, all of one length.

    Args:
        rows: B rows of L tokens, of `pad` or of `maskwork.data.pack`.

    Returns:
        A batch (B, L). Its mask is `within` each example's mask. Padding is a block that sees itself, so that no
        softmax is over nothing, and that no token sees.

    Raises:
        ArgumentError: no rows, rows of different lengths, rows of bare tokens.

    >>> from maskwork.objectives import CausalLM
    >>> batch = collate(pad([CausalLM().example([5, 6, 7]), CausalLM().example([8, 9])]))
    >>> batch.targets.tolist()
    [[6, 7, -100], [9, -100, -100]]
    """
    check_rows(rows)
    for index, row in enumerate(rows):
        if not row.examples:
            raise ArgumentError(
                f"collate takes rows of examples, which say what is scored, got bare tokens in row {index}; "
                "call an objective with the rows"
            )
    documents, positions = document_and_position_ids(rows)
    return Batch(
        input_ids=torch.from_numpy(stack_tokens(rows)),
        targets=torch.from_numpy(_concatenate_field(rows, "targets", IGNORED)),
        weights=torch.from_numpy(_concatenate_field(rows, "weights", 0)),
        position_ids=torch.from_numpy(positions),
        document_ids=torch.from_numpy(documents),
        mask=_mask(rows),
        reasons=torch.from_numpy(_concatenate_field(rows, "reasons", Reason.PADDING)),
    )


def batch_of(make: Callable[[np.ndarray], Example], rows: Sequence[PackedRow | Sequence[int]]) -> Batch:
    """Make the batch of an objective from packed rows, or from token sequences, which are padded on the right.

    Args:
        make: the objective's function from a document's tokens to an example.
        rows: packed rows of bare tokens, or token sequences.

    Raises:
        ArgumentError: as `collate`; a packed document changed its length, which its row has no room for.
    """
    if not isinstance(rows, Sequence):  # a tensor is a rectangle: nothing says which of its tokens are padding
        raise ArgumentError(
            f"a batch is made of a list of packed rows or of token sequences without padding, got "
            f"{type(rows).__name__}; pass a list with the tokens of each document"
        )
    if not rows:
        check_rows(())
    packed = [row for row in rows if isinstance(row, PackedRow)]
    if not packed:
        documents = [row for row in rows if not isinstance(row, PackedRow)]
        return collate(pad([make(as_tokens(document, index)) for index, document in enumerate(documents)]))
    if len(packed) < len(rows):
        raise ArgumentError("a batch is made of packed rows or of token sequences, got both; pass one kind")
    return collate([_apply_objective(row, make) for row in packed])


def check_rows(rows: Sequence[PackedRow]) -> None:
    """Raise unless there are rows, all of one length."""
    if not rows:
        raise ArgumentError(
            "a batch needs at least one row, got none; pass token sequences, or packed rows (maskwork.data.pack "
            "makes them)"
        )
    length = len(rows[0].tokens)
    for index, row in enumerate(rows):
        if len(row.tokens) != length:
            raise ArgumentError(
                f"the rows of a batch must have one length, got {length} tokens in row 0 and {len(row.tokens)} in row "
                f"{index}; pack them with one max_len"
            )


def stack_tokens(rows: Sequence[PackedRow]) -> np.ndarray:
    """Stack the rows' tokens, int64 (B, L)."""
    return np.stack([row.tokens for row in rows]).astype(np.int64, copy=False)


def document_and_position_ids(rows: Sequence[PackedRow]) -> tuple[np.ndarray, np.ndarray]:
    """Return, int64 (B, L) each, every position's document (-1 on padding) and its offset in its block."""
    shape = len(rows), len(rows[0].tokens)
    # All blocks of all rows in one flat list: two repeats give each position its block and the block's start.
    #
    #     lengths    3 | 2, 1          counts  1, 2
    #     documents  0 0 0 | 0 0 1     positions  0 1 2 | 0 1 0     (and then 1 becomes -1: it is padding)
    counts = np.array([len(row.lengths) for row in rows])
    lengths = np.fromiter(chain.from_iterable(row.lengths for row in rows), dtype=np.int64)
    in_row = np.arange(len(lengths)) - np.repeat(np.cumsum(counts) - counts, counts)
    documents = np.repeat(in_row, lengths).reshape(shape)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    positions = (np.arange(shape[0] * shape[1]) - starts).reshape(shape)
    for row, numbers in zip(rows, documents, strict=True):
        if row.padding and row.side == "right":
            numbers[-row.padding :] = -1
        elif row.padding:
            numbers -= 1  # the padding is block 0
    return documents, positions


def _apply_objective(row: PackedRow, make: Callable[[np.ndarray], Example]) -> PackedRow:
    """Return the packed row with the example that the objective makes of each document, at the document's place."""
    if row.examples:
        raise ArgumentError(
            "an objective takes rows of bare tokens, got a row of examples, which already say what is scored; "
            "call collate with the rows"
        )
    if not row.document_lengths:
        raise ArgumentError("a row holds at least one document, got padding alone; leave the row out")
    examples = tuple(make(document) for document in row.documents)
    if any(len(example) != length for example, length in zip(examples, row.document_lengths, strict=True)):
        raise ArgumentError(
            f"in a packed row an objective keeps each document's length, got {[len(example) for example in examples]}"
            f" of {list(row.document_lengths)}; make the examples first, then pack them: "
            "pack([objective.example(tokens, generator) for tokens in …], max_len)"
        )
    # The objective may change tokens too, as masking does: the row gets the examples', its padding stays.
    tokens = row.tokens.copy()
    np.concatenate([example.tokens for example in examples], out=tokens[row.filled])
    return replace(row, tokens=tokens, examples=examples)


def _concatenate_field(rows: Sequence[PackedRow], name: str, padding: int) -> np.ndarray:
    """Concatenate a field of the examples of each row into (B, L), with `padding` at the padding."""
    first: np.ndarray = getattr(rows[0].examples[0], name)
    out = np.full((len(rows), len(rows[0].tokens)), padding, dtype=first.dtype)
    for row, values in zip(rows, out, strict=True):
        np.concatenate([getattr(example, name) for example in row.examples], out=values[row.filled])
    return out


def _mask(rows: Sequence[PackedRow]) -> Mask:
    """Return the mask of the batch: `within` one mask for all if possible, for a small expression; else per row."""
    masks = {example.mask for row in rows for example in row.examples}
    lengths = [list(row.lengths) for row in rows]
    # A mask of distances alone fits padding of any length; an array in another may be too short for it.
    if len(masks) == 1 and (not any(row.padding for row in rows) or next(iter(masks)).relative):
        return within(masks.pop(), lengths)
    return per_row([within(_masks(row), row.lengths) for row in rows])


def _masks(row: PackedRow) -> list[Mask]:
    documents = [example.mask for example in row.examples]
    padding: list[Mask] = [full()] * (row.padding > 0)
    return documents + padding if row.side == "right" else padding + documents


def unscored(tokens: np.ndarray, mask: Mask) -> Example:
    """Return an example that is read as context under this mask, and never scored."""
    n = len(tokens)
    targets = np.full(n, IGNORED, dtype=np.int64)
    return Example(tokens, targets, np.zeros(n, np.float32), mask, np.full(n, Reason.CONTEXT, dtype=np.uint8))


def unscored_batch(documents: Sequence[np.ndarray], mask: Mask, side: Side) -> Batch:
    """Return a batch of unscored documents, each in a row of its own, padded on `side`."""
    return collate(pad([unscored(tokens, mask) for tokens in documents], side=side))
