"""Lowerings are filed with the mask they were made from, as tensors that any later use may keep."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

from ..masks import BoundMask

T = TypeVar("T")


def lowered(b: BoundMask, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns, made on first use of `key`.

    Outside inference mode, whatever mode the caller is in: a tensor made inside could never be saved for a backward
    pass, and the mask that holds it may be trained with after it was evaluated with.
    """

    def outside() -> T:
        with torch.inference_mode(False):
            return make()

    return b.memo(key, outside)
