"""`PrecomputedMask`: a mask's geometry stored as buffers, the classic causal buffer for any mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .._shared.numbers import side
from ..errors import ArgumentError
from ..lower import outside_graph
from ..masks import BoundMask, Grid, Mask, full, missing_q_start
from ..spans import Spans, take_rows


class PrecomputedMask(nn.Module):
    """Key intervals of every query in `[0, max_len)`, from which any shorter grid is cut.

    Args:
        mask: the mask to store, unbound. Its array parameters cover exactly `max_len` positions.
        max_len: most queries and keys.
        persistent: whether the buffers go into `state_dict`. A state of another mask does not load.

    Raises:
        ArgumentError: `mask` is bound, or `max_len` is no integer of at least 0.

    The buffers `starts` and `ends`, int32 `(B, H, max_len, R)`, move with `.to()`; B and H are 1 where nothing differs.

    >>> import maskwork as mw
    >>> kept = mw.nn.PrecomputedMask(mw.causal() & mw.sliding_window(2), max_len=512)
    >>> kept(q_len=3, kv_len=3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """

    starts: torch.Tensor
    ends: torch.Tensor

    def __init__(self, mask: Mask, max_len: int, persistent: bool = False) -> None:
        super().__init__()
        if not isinstance(mask, Mask):
            raise ArgumentError(
                f"a mask is precomputed for many lengths, so it must be unbound, got {type(mask).__name__}; "
                "build it from atoms such as mw.causal()"
            )
        self.mask, self.max_len = mask, side(max_len, 0, "max_len")
        for name, edge in _edges(mask, self.max_len).items():
            self.register_buffer(name, edge, persistent=persistent)
        # The same numbers outside torch: buffers may be on a GPU or `meta`, or stand for tensors in a trace.
        self._spans = mask.bind(self.max_len).spans
        self._last: BoundMask | None = None
        self._asked: tuple[Any, ...] | None = None

    def forward(self, q_len: int, kv_len: int, *, q_start: Any = None, batch: int = 1, heads: int = 1) -> BoundMask:
        """Return the mask bound to this grid, as `mask.bind` does.

        The module stores the last result: 32 layers of the same grid lower the mask once.

        Args:
            q_len, kv_len: numbers of queries and keys.
            q_start: absolute position of the first query, or one for each batch row; 0 when left out, which needs
                `q_len == kv_len`.
            batch, heads: of the grid.

        Raises:
            ArgumentError: the grid reaches beyond `max_len`. GridError: `q_start` is missing, or batch or heads differ.
        """
        # Numbers alone are compared: lists and tensors of starts may change. Compiled code takes this way too.
        asked = q_len, kv_len, q_start, batch, heads
        if self._last is not None and _are_ints(asked) and self._asked == asked:
            return self._last
        return self._bind(*asked)

    @outside_graph
    def _bind(self, q_len: int, kv_len: int, q_start: Any, batch: int, heads: int) -> BoundMask:
        """Return the mask bound to a grid and cut from what is stored."""
        asked = q_len, kv_len, q_start, batch, heads
        if q_start is None:
            if q_len != kv_len:
                raise missing_q_start(q_len, kv_len)
            q_start = 0
        q_len, kv_len = side(q_len, 0, "q_len"), side(kv_len, 0, "kv_len")
        grid = full().bind(q_len, kv_len, q_start=q_start, batch=batch, heads=heads).grid
        if max(kv_len, grid.q_end) > self.max_len:
            raise ArgumentError(
                f"the precomputed mask holds {self.max_len} positions, got queries up to {grid.q_end} and "
                f"{kv_len} keys; precompute it for more, or pass mask="
            )
        bound = self.mask.bind(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
        if bound.grid.q_first < 0:  # what is stored begins at position 0
            return bound
        grid = bound.grid
        # One entry is enough: the layers of a model ask for the same grid one after the other.
        if self._last is None or self._last.grid != grid:
            self._last = BoundMask(self.mask, grid, self._cut(grid))
        self._asked = asked if _are_ints(asked) else None
        return self._last

    def _cut(self, grid: Grid) -> Spans:
        """Return the geometry of the grid, cut from that of all positions."""
        # A cell does not depend on the grid's size: without the last keys, the cells of the others stay the same.
        kept = self._spans
        if isinstance(grid.q_start, tuple):
            rows = take_rows(kept, grid.queries())
        else:
            rows = kept.rows(grid.q_start, grid.q_end)
        starts, ends = (np.minimum(side, grid.kv_len, order="C") for side in (rows.planes_starts, rows.planes_ends))
        return Spans(starts, ends, grid.kv_len).trim()

    def extra_repr(self) -> str:
        return f"{self.mask!r}, max_len={self.max_len}"

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        # Buffers of another mask would silently change what the module attends to, so compare before loading.
        expected = _edges(self.mask, self.max_len)
        loaded = {name: state_dict[prefix + name] for name in expected if prefix + name in state_dict}
        if any(not torch.equal(edge.to("cpu", torch.int32), expected[name]) for name, edge in loaded.items()):
            error_msgs.append(
                f"{prefix}starts and {prefix}ends must be those of the module's mask {self.mask!r}, got those of "
                "another mask; make the module with the mask that was saved"
            )
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _are_ints(asked: tuple[Any, ...]) -> bool:
    """Return whether all arguments of a grid are plain ints, or left out."""
    return all(value is None or type(value) is int for value in asked)


def _edges(mask: Mask, max_len: int) -> dict[str, torch.Tensor]:
    """Return the buffers of `mask` by name: int32 `(B, H, max_len, R)`."""
    spans = mask.bind(max_len).spans
    return {name: torch.tensor(np.ascontiguousarray(getattr(spans, name))) for name in ("starts", "ends")}
