"""Mistakes that a batch's tensors and mask show by themselves: each is one line with the position and the values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...data import IGNORED, Reason
from ...errors import MaskworkError
from ...masks import Mask
from .arrays import SCORED_REASONS, SideArrays


@dataclass(frozen=True)
class BatchWarning:
    """A mistake in a batch, or a likely one.

    Attributes:
        text: the mistake in one line, which begins with the position.
        row, index: the position; None for a mistake of the batch as a whole.
    """

    text: str
    row: int | None = None
    index: int | None = None


def check_side(side: SideArrays) -> Iterator[BatchWarning]:
    """Check targets, weights, documents and positions against each other."""
    if side.targets is not None and side.weights is not None:
        yield from _warn(side, side.scored & (side.documents < 0), "a padding position is scored")
        # Where targets stand in place (tags, masked tokens), a target may equal the next token by chance.
        if side.predicts_next or not _shows_objective(side):
            yield from _warn_of_next_document(side)
        bad = ~(np.isfinite(side.weights) & (side.weights >= 0))
        yield from _warn(side, bad, "a weight must be finite and at least 0; it is {}", side.weights)
        yield from _warn(side, (side.targets < 0) & (side.targets != IGNORED), "the target {} is no id", side.targets)
        if side.predicts_itself and side.scored.sum() > 1 and not _has_note(side, Reason.KEPT):
            yield BatchWarning("most targets are the very token that is read there: are they not shifted?")
    if side.noted is not None:
        contrary = side.scored & ~np.isin(side.noted, SCORED_REASONS) & (side.documents >= 0)
        names = np.array([Reason(n).name if n in list(Reason) else f"unknown ({n})" for n in range(256)], dtype=object)
        yield from _warn(side, contrary, "scored, although the objective noted {}", names[side.noted])
    starts = _starts(side.documents) & (side.documents >= 0)
    yield from _warn(side, starts & (side.positions != 0), "a document begins at position {}, not 0", side.positions)


def check_mask(queries: SideArrays, keys: SideArrays, mask: Mask) -> Iterator[BatchWarning]:
    """Check an attention mask against the documents of both sides, and the targets of the queries."""
    rows, length = queries.ids.shape
    try:
        spans = mask.bind(length, keys.ids.shape[1], q_start=0, batch=rows).spans
    except MaskworkError as error:
        yield BatchWarning(f"the attention mask could not be checked: {error}")
        return
    shows_next = np.zeros(queries.ids.shape, dtype=bool)
    next_position = np.arange(1, length + 1)[:, None]
    for row in range(rows):
        plane = row if spans.starts.shape[0] > 1 else 0
        # (H, Q, R): the keys that each query sees, as half-open intervals.
        start, end = spans.starts[plane].astype(np.int64), spans.ends[plane].astype(np.int64)
        yield from _warn_of_crossing(queries, keys, start, end, row)
        shows_next[row] = ((start <= next_position) & (next_position < end)).any(axis=(0, 2))
    if keys is queries and queries.predicts_next:
        wrong = shows_next & queries.scored & queries.targets_follow
        yield from _warn(queries, wrong, "the mask shows it the next token, which it predicts")


def _warn_of_crossing(
    queries: SideArrays, keys: SideArrays, start: np.ndarray, end: np.ndarray, row: int
) -> Iterator[BatchWarning]:
    """Yield a warning for each document that sees a key of another document or padding.

    Queries of padding are not checked: nothing reads their output. An interval of keys [start, end) crosses if its
    first and last key lie in different runs of equal document ids, or if its run belongs to another document:

        key documents     0 0 0 1 1 1 -1
        runs              0 0 0 1 1 1  2
        interval              [---)            runs 0 and 1: crosses
    """
    ids, key_ids = queries.documents[row], keys.documents[row]
    run = np.concatenate([[0], np.cumsum(key_ids[1:] != key_ids[:-1])])
    # Empty slots are [kv_len, kv_len): clamped to a valid index, and never counted below.
    first, final = np.minimum(start, len(key_ids) - 1), np.clip(end - 1, 0, len(key_ids) - 1)
    query_ids = ids[None, :, None]
    crosses = (start < end) & (query_ids >= 0) & ((run[first] != run[final]) | (key_ids[first] != query_ids))
    warned: set[int] = set()
    for index in np.flatnonzero(crosses.any(axis=(0, 2))):
        document = int(ids[index])
        if document in warned:  # one line a document: a mask that joins documents does so at nearly every position
            continue
        warned.add(document)
        head, slot = np.argwhere(crosses[:, index])[0]
        visible = np.arange(start[head, index, slot], end[head, index, slot])
        key = int(visible[key_ids[visible] != document][0])
        other = "padding" if key_ids[key] < 0 else f"document {key_ids[key]}"
        text = f"the mask lets document {document} see {other}, at {keys.name}{' ' * bool(keys.name)}position {key}"
        yield BatchWarning(f"{queries.place(row, int(index))}: {text}", row, int(index))


def _warn_of_next_document(side: SideArrays) -> Iterator[BatchWarning]:
    """Yield a warning for each last position whose target is the first token of the next document or of padding."""
    for row, index in np.argwhere(side.predicts_beyond).tolist():
        document, after = side.documents[row, index], side.documents[row, index + 1]
        target = "the padding's token" if after < 0 else f"document {after}'s first token"
        text = f"the last of document {document} is scored, and its target is {target}"
        yield BatchWarning(f"{side.place(row, index)}: {text}", row, index)


def _warn(side: SideArrays, wrong: np.ndarray, text: str, values: np.ndarray | None = None) -> Iterator[BatchWarning]:
    """Yield a warning for each position that is wrong; {} in the text is the value there."""
    for row, index in np.argwhere(wrong).tolist():
        words = text if values is None else text.format(values[row, index])
        yield BatchWarning(f"{side.place(row, index)}: {words}", row, index)


def _shows_objective(side: SideArrays) -> bool:
    """Return whether a next-token objective can be told from others: by a target inside a document, or a reason."""
    in_place = any(_has_note(side, reason) for reason in (Reason.MASKED, Reason.RANDOM, Reason.KEPT))
    return in_place or bool((side.scored & ~side.last & (side.documents >= 0)).any())


def _has_note(side: SideArrays, reason: Reason) -> bool:
    return side.noted is not None and bool((side.noted == reason).any())


def _starts(documents: np.ndarray) -> np.ndarray:
    """Mark the first position of each document, bool (B, L); the parts of a document need not be contiguous."""
    out = np.zeros(documents.shape, dtype=bool)
    for row, ids in enumerate(documents):
        out[row, np.unique(ids, return_index=True)[1]] = True
    return out
