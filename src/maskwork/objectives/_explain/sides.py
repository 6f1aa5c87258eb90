"""Which arrays of which kind of batch are explained together: one side, or an encoder and a decoder.

Batches are told apart by what they hold and not by their class, so that a batch of one's own is explained as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .checks import BatchWarning, check_grid, check_mask
from .grid import Grid


def sides_of(batch: Any) -> list[Grid]:
    """What the model reads; what is scored stands in the last one."""
    ids, documents, positions = (_array(batch, name) for name in ("input_ids", "document_ids", "position_ids"))
    if hasattr(batch, "decoder_input_ids"):
        names = ("decoder_input_ids", "decoder_document_ids", "decoder_position_ids")
        decoder = Grid(*(_array(batch, name) for name in names), *_scores(batch), side="decoder")
        return [Grid(ids, documents, positions, side="encoder"), decoder]
    if batch.targets.ndim == 1:
        masked = getattr(batch, "masked", None)  # next-sentence prediction beside masked-language modelling
        scores = (None, None, None) if masked is None else _scores(masked)
        return [Grid(ids, documents, positions, *scores, pooled=_pooled(batch))]
    return [Grid(ids, documents, positions, *_scores(batch))]


def warnings_of(batch: Any, sides: list[Grid]) -> Iterator[BatchWarning]:
    """What is wrong on each side, and with each mask."""
    for grid in sides:
        yield from check_grid(grid)
    first, last = sides[0], sides[-1]
    yield from check_mask(first, first, batch.mask)
    if last is not first:
        yield from check_mask(last, last, batch.decoder_mask)
        yield from check_mask(last, first, batch.cross_mask)


def _scores(batch: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    return (
        _array(batch, "targets"),
        _array(batch, "weights"),
        None if batch.reasons is None else _array(batch, "reasons"),
    )


def _pooled(batch: Any) -> np.ndarray:
    """bool (B, L): the real tokens that a sequence's class is predicted from."""
    real = _array(batch, "document_ids") >= 0
    if batch.read == "mean":
        return real
    columns = np.arange(real.shape[1])
    return columns == _array(batch, batch.read)[:, None]  # batch.last or batch.first: the column of each sequence


def _array(batch: Any, name: str) -> np.ndarray:
    tensor: torch.Tensor = getattr(batch, name)
    return tensor.detach().cpu().numpy()
