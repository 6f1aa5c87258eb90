"""Lowerings are filed with the mask they were made from, as tensors that any later use may keep."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

from ..errors import ArgumentError
from ..masks import BoundMask, Mask
from ._graph import outside_graph

T = TypeVar("T")


def require_bound(b: object) -> None:
    """Raise unless `b` is a bound mask: what every lowering takes."""
    if not isinstance(b, BoundMask):
        mend = "bind it first: mask.bind(q_len, kv_len, q_start=…)" if isinstance(b, Mask) else "build one from atoms"
        raise ArgumentError(f"a lowering takes a bound mask, got {type(b).__name__}; {mend}")


def lowered(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns, made on first use of `key`; what is there already breaks no compiled graph.

    Outside inference mode, whatever mode the caller is in: a tensor made inside could never be saved for a backward
    pass, and the mask that holds it may be trained with after it was evaluated with.
    """
    require_bound(b)
    if b.has_memo(key):
        return b.memo(key, make)
    return _first_time(b, key, make)


@outside_graph
def _first_time(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    _ = b.shape  # now: compiled code that finds the lowering reads the shape as well

    def outside() -> T:
        with torch.inference_mode(False):
            return make()

    return b.memo(key, outside)


@outside_graph
def bind_outside_graph(
    mask: Mask, q_len: int, kv_len: int, *, q_start: int | None, batch: int, heads: int
) -> BoundMask:
    """`mask.bind` for code that may be compiled."""
    bound = mask.bind(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
    _ = bound.spans  # now: they are worked out on first use, which may lie inside the graph
    return bound
