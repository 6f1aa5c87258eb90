"""The sides of a batch as arrays: one side, or an encoder and a decoder; and the warnings of all sides.

The kind of a batch is known by its fields and not by its class, so that a caller's own class is explained as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .arrays import SideArrays
from .checks import BatchWarning, check_mask, check_side


def sides_of(batch: Any) -> list[SideArrays]:
    """Return the sides that the model reads; the targets belong to the last one."""
    ids, documents, positions = (_array(batch, name) for name in ("input_ids", "document_ids", "position_ids"))
    if hasattr(batch, "decoder_input_ids"):
        decoder = SideArrays(
            _array(batch, "decoder_input_ids"),
            _array(batch, "decoder_document_ids"),
            _array(batch, "decoder_position_ids"),
            *_scores(batch),
            name="decoder",
        )
        return [SideArrays(ids, documents, positions, name="encoder"), decoder]
    if batch.targets.ndim == 1:
        masked = getattr(batch, "masked", None)  # next-sentence prediction beside masked-language modelling
        scores = (None, None, None) if masked is None else _scores(masked)
        return [SideArrays(ids, documents, positions, *scores, pooled=_pooled(batch))]
    return [SideArrays(ids, documents, positions, *_scores(batch))]


def warnings_of(batch: Any, sides: list[SideArrays]) -> Iterator[BatchWarning]:
    """Yield the mistakes of each side, and of each mask."""
    for side in sides:
        yield from check_side(side)
    # a decoder has two masks more: its own, and the one from its queries to the encoder's keys
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
    """Return bool (B, L): the real tokens that a sequence's class is predicted from."""
    real = _array(batch, "document_ids") >= 0
    if batch.read == "mean":
        return real
    columns = np.arange(real.shape[1])
    return columns == _array(batch, batch.read)[:, None]  # batch.last or batch.first: the column of each sequence


def _array(batch: Any, name: str) -> np.ndarray:
    tensor: torch.Tensor = getattr(batch, name)
    return tensor.detach().cpu().numpy()
