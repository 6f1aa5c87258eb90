"""Lowerings are stored in the bound mask they were made from, as tensors that may be saved for a backward pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

from ..errors import ArgumentError
from ..masks import BoundMask, Mask
from ._graph import outside_graph

T = TypeVar("T")


def require_bound(b: object) -> None:
    """Raise unless `b` is a bound mask, which every lowering takes."""
    if not isinstance(b, BoundMask):
        fix = "bind it first: mask.bind(q_len, kv_len, q_start=…)" if isinstance(b, Mask) else "build one from atoms"
        raise ArgumentError(f"a lowering takes a bound mask, got {type(b).__name__}; {fix}")


def lowered(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    """Return the lowering of `key`, made with `make` on first use; reading it later breaks no compiled graph.

    `make` runs outside inference mode, whatever the caller's mode: a tensor made in inference mode could never be saved
    for a backward pass, and a mask may be used for training after evaluation.
    """
    require_bound(b)
    if b._lowerings.has(key):
        return b._lowerings.get(key, make)
    return _make(b, key, make)


@outside_graph
def _make(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    # Computed here: compiled code that reads a stored lowering reads the shape as well.
    _ = b.shape

    def outside() -> T:
        with torch.inference_mode(False):
            return make()

    return b._lowerings.get(key, outside)


@outside_graph
def bind_outside_graph(
    mask: Mask, q_len: int, kv_len: int, *, q_start: int | None, batch: int, heads: int
) -> BoundMask:
    """Call `mask.bind` in code that may be compiled."""
    bound = mask.bind(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
    # Computed here: the first use of the spans may be inside the graph.
    _ = bound.spans
    return bound
