"""Mistakes that a batch's tensors and mask show by themselves: each a line that says what was found, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...data import IGNORED, Reason
from ...errors import MaskworkError
from ...masks import Mask
from .grid import SCORED_REASONS, Grid


@dataclass(frozen=True)
class BatchWarning:
    """One mistake, or what looks like one.

    Attributes:
        text: what was found, in one line; it begins with the place.
        row, index: where; None where it is the batch as a whole.
    """

    text: str
    row: int | None = None
    index: int | None = None


def check_grid(grid: Grid) -> Iterator[BatchWarning]:
    """Targets, weights, documents and positions against each other."""
    if grid.targets is not None and grid.weights is not None:
        yield from _at(grid, grid.scored & (grid.documents < 0), "a padding position is scored")
        if grid.predicts_next or not _tells(grid):
            yield from _beyond(grid)
        bad = ~(np.isfinite(grid.weights) & (grid.weights >= 0))
        yield from _at(grid, bad, "a weight must be finite and at least 0; it is {}", grid.weights)
        yield from _at(grid, (grid.targets < 0) & (grid.targets != IGNORED), "the target {} is no id", grid.targets)
        if grid.predicts_itself and grid.scored.sum() > 1 and not _noted(grid, Reason.KEPT):
            yield BatchWarning("most targets are the very token that is read there: are they not shifted?")
    if grid.noted is not None:
        contrary = grid.scored & ~np.isin(grid.noted, SCORED_REASONS) & (grid.documents >= 0)
        names = np.array([Reason(n).name if n in list(Reason) else f"unknown ({n})" for n in range(256)], dtype=object)
        yield from _at(grid, contrary, "scored, although the objective noted {}", names[grid.noted])
    starts = _starts(grid.documents) & (grid.documents >= 0)
    yield from _at(grid, starts & (grid.positions != 0), "a document begins at position {}, not 0", grid.positions)


def check_mask(queries: Grid, keys: Grid, mask: Mask) -> Iterator[BatchWarning]:
    """An attention mask against the documents of both sides, and the targets of the queries."""
    rows, length = queries.ids.shape
    try:
        spans = mask.bind(length, keys.ids.shape[1], q_start=0, batch=rows).spans
    except MaskworkError as error:
        yield BatchWarning(f"the attention mask could not be checked: {error}")
        return
    shown = np.zeros(queries.ids.shape, dtype=bool)
    following = np.arange(1, length + 1)[:, None]
    for row in range(rows):
        plane = row if spans.starts.shape[0] > 1 else 0
        # (H, Q, R): the keys that each query sees, as half-open intervals.
        start, end = spans.starts[plane].astype(np.int64), spans.ends[plane].astype(np.int64)
        yield from _crossing(queries, keys, start, end, row)
        shown[row] = ((start <= following) & (following < end)).any(axis=(0, 2))
    if keys is queries and queries.predicts_next:
        wrong = shown & queries.scored & queries.targets_follow
        yield from _at(queries, wrong, "the mask shows it the next token, which it predicts")


def _crossing(queries: Grid, keys: Grid, start: np.ndarray, end: np.ndarray, row: int) -> Iterator[BatchWarning]:
    """A query that sees a key of another document or padding; what padding sees harms nobody."""
    ids, key_ids = queries.documents[row], keys.documents[row]
    run = np.concatenate([[0], np.cumsum(key_ids[1:] != key_ids[:-1])])
    first, final = np.minimum(start, len(key_ids) - 1), np.clip(end - 1, 0, len(key_ids) - 1)
    own = ids[None, :, None]
    crosses = (start < end) & (own >= 0) & ((run[first] != run[final]) | (key_ids[first] != own))
    told: set[int] = set()
    for index in np.flatnonzero(crosses.any(axis=(0, 2))):
        document = int(ids[index])
        if document in told:  # one line a document: a mask that joins documents does it at nearly every position
            continue
        told.add(document)
        head, slot = np.argwhere(crosses[:, index])[0]
        seen = np.arange(start[head, index, slot], end[head, index, slot])
        key = int(seen[key_ids[seen] != document][0])
        other = "padding" if key_ids[key] < 0 else f"document {key_ids[key]}"
        text = f"the mask lets document {document} see {other}, at {keys.side}{' ' * bool(keys.side)}position {key}"
        yield BatchWarning(f"{queries.place(row, int(index))}: {text}", row, int(index))


def _beyond(grid: Grid) -> Iterator[BatchWarning]:
    for row, index in np.argwhere(grid.predicts_beyond).tolist():
        here, after = grid.documents[row, index], grid.documents[row, index + 1]
        what = "the padding's token" if after < 0 else f"document {after}'s first token"
        text = f"the last of document {here} is scored, and its target is {what}"
        yield BatchWarning(f"{grid.place(row, index)}: {text}", row, index)


def _at(grid: Grid, where: np.ndarray, text: str, values: np.ndarray | None = None) -> Iterator[BatchWarning]:
    for row, index in np.argwhere(where).tolist():
        said = text if values is None else text.format(values[row, index])
        yield BatchWarning(f"{grid.place(row, index)}: {said}", row, index)


def _tells(grid: Grid) -> bool:
    """Whether something tells a next-token objective from another: a target inside a document, or a reason."""
    in_place = _noted(grid, Reason.MASKED) or _noted(grid, Reason.RANDOM) or _noted(grid, Reason.KEPT)
    return in_place or bool((grid.scored & ~grid.last & (grid.documents >= 0)).any())


def _noted(grid: Grid, reason: Reason) -> bool:
    return grid.noted is not None and bool((grid.noted == reason).any())


def _starts(documents: np.ndarray) -> np.ndarray:
    """bool (B, L): no earlier position of the row has this id; the parts of a document need not be contiguous."""
    out = np.zeros(documents.shape, dtype=bool)
    for row, ids in enumerate(documents):
        out[row, np.unique(ids, return_index=True)[1]] = True
    return out
