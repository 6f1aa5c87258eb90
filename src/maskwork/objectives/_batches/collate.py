"""From examples to a batch: `pad` lays each in a row of its own, `collate` makes tensors and the mask of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch

from ...data import IGNORED, Example, PackedRow, Reason, Side, as_tokens
from ...errors import ArgumentError
from ...masks import Mask, full, per_row, within
from .batch import Batch


def pad(examples: Sequence[Example], *, side: Side = "right", multiple_of: int = 1) -> list[PackedRow]:
    """Each example in a row of its own, as long as the longest, rounded up to a multiple of `multiple_of`.

    Args:
        examples: at least one, of at least one token each.
        side: where the padding goes.
        multiple_of: the length of the rows is a multiple of it.

    Raises:
        ArgumentError: no examples, an empty one, a side that is neither "right" nor "left".

    >>> from maskwork.objectives import CausalLM
    >>> rows = pad([CausalLM().example([5, 6, 7]), CausalLM().example([8, 9])], side="left")
    >>> [row.tokens.tolist() for row in rows], [row.lengths for row in rows]
    ([[5, 6, 7], [0, 8, 9]], [(3,), (1, 2)])
    """
    if side not in ("right", "left"):
        raise ArgumentError(f"padding is on the right or on the left; found side={side!r}; pass one of them")
    if multiple_of < 1:
        raise ArgumentError(f"multiple_of is at least 1; found {multiple_of}; leave it out for no rounding")
    if not examples:
        raise ArgumentError("a batch needs at least one example; found none; pass some")
    length = max(len(example) for example in examples)
    length += -length % multiple_of
    return [PackedRow.of([example], length, side) for example in examples]


def collate(rows: Sequence[PackedRow]) -> Batch:
    """The batch of rows that were made of examples, all of one length.

    Args:
        rows: B rows of L tokens, of `pad` or of `maskwork.data.pack`.

    Returns:
        A batch (B, L). Its mask is `within` each example's own mask; padding is a block of its own that sees itself, so
        that no softmax is over nothing, and is never seen by a token.

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
                f"collate takes rows of examples, which say what is scored; row {index} has bare tokens; "
                "call an objective with the rows"
            )
    documents, positions = places(rows)
    return Batch(
        input_ids=torch.from_numpy(stack_tokens(rows)),
        targets=torch.from_numpy(_spread(rows, "targets", IGNORED)),
        weights=torch.from_numpy(_spread(rows, "weights", 0)),
        position_ids=torch.from_numpy(positions),
        document_ids=torch.from_numpy(documents),
        mask=_mask(rows),
        reasons=torch.from_numpy(_spread(rows, "reasons", Reason.PADDING)),
    )


def batch_of(make: Callable[[np.ndarray], Example], rows: Sequence[PackedRow | Sequence[int]]) -> Batch:
    """The batch of an objective that makes an example of each document: in its packed row, or padded on the right.

    Raises:
        ArgumentError: as `collate`; a packed document changed its length, which its row has no room for.
    """
    if not isinstance(rows, Sequence):  # a tensor is a rectangle: what in it is padding can't be known
        raise ArgumentError(
            f"a batch is made of a list of packed rows or of token sequences without padding; found "
            f"{type(rows).__name__}; pass a list of each document's own tokens"
        )
    if not rows:
        check_rows(())
    made = [
        _remade(row, make) if isinstance(row, PackedRow) else make(as_tokens(row, index))
        for index, row in enumerate(rows)
    ]
    packed = [row for row in made if isinstance(row, PackedRow)]
    if not packed:
        return collate(pad([example for example in made if isinstance(example, Example)]))
    if len(packed) < len(made):
        raise ArgumentError("a batch is made of packed rows or of token sequences; found both; pass one kind")
    return collate(packed)


def check_rows(rows: Sequence[PackedRow]) -> None:
    """Raise unless there are rows, all of one length."""
    if not rows:
        raise ArgumentError(
            "a batch needs at least one row; found none; pass token sequences, or packed rows (maskwork.data.pack "
            "makes them)"
        )
    length = len(rows[0].tokens)
    for index, row in enumerate(rows):
        if len(row.tokens) != length:
            raise ArgumentError(
                f"the rows of a batch must have one length; row 0 has {length} tokens and row {index} "
                f"{len(row.tokens)}; pack them with one max_len"
            )


def stack_tokens(rows: Sequence[PackedRow]) -> np.ndarray:
    """int64 (B, L)."""
    return np.stack([row.tokens for row in rows]).astype(np.int64, copy=False)


def places(rows: Sequence[PackedRow]) -> tuple[np.ndarray, np.ndarray]:
    """int64 (B, L) each: the document of every position (-1 on padding), and its position inside its block."""
    shape = len(rows), len(rows[0].tokens)
    # All blocks of all rows in one flat list: two repeats give each position its block and the block's start.
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


def _remade(row: PackedRow, make: Callable[[np.ndarray], Example]) -> PackedRow:
    if row.examples:
        raise ArgumentError(
            "an objective takes rows of bare tokens; found a row of examples, which already say what is scored; "
            "call collate with the rows"
        )
    if not row.document_lengths:
        raise ArgumentError("a row holds at least one document; found padding alone; leave the row out")
    examples = tuple(make(document) for document in row.documents)
    if any(len(example) != length for example, length in zip(examples, row.document_lengths, strict=True)):
        raise ArgumentError(
            f"in a packed row an objective keeps each document's length; found {[len(example) for example in examples]}"
            f" of {list(row.document_lengths)}; make the examples first, then pack them: "
            "pack([objective.example(tokens, generator) for tokens in …], max_len)"
        )
    tokens = row.tokens.copy()
    np.concatenate([example.tokens for example in examples], out=tokens[row.filled])
    return replace(row, tokens=tokens, examples=examples)


def _spread(rows: Sequence[PackedRow], name: str, padding: int) -> np.ndarray:
    """The examples' arrays (B, L), with `padding` where there is none."""
    first: np.ndarray = getattr(rows[0].examples[0], name)
    out = np.full((len(rows), len(rows[0].tokens)), padding, dtype=first.dtype)
    for row, values in zip(rows, out, strict=True):
        np.concatenate([getattr(example, name) for example in row.examples], out=values[row.filled])
    return out


def _mask(rows: Sequence[PackedRow]) -> Mask:
    masks = {example.mask for row in rows for example in row.examples}
    lengths = [list(row.lengths) for row in rows]
    # A mask of distances alone fits padding of any length; an array in another may be too short for it.
    if len(masks) == 1 and (not any(row.padding for row in rows) or next(iter(masks)).relative):
        return within(masks.pop(), lengths)
    return per_row([within(_masks(row), row.lengths) for row in rows])


def _masks(row: PackedRow) -> list[Mask]:
    own = [example.mask for example in row.examples]
    padding: list[Mask] = [full()] * (row.padding > 0)
    return own + padding if row.side == "right" else padding + own
