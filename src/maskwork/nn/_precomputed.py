"""`PrecomputedMask`: a mask's geometry kept as buffers, the classic causal buffer for any mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import ArgumentError
from ..lower import outside_graph
from ..masks import BoundMask, Grid, Mask, missing_q_start
from ..spans import Spans


class PrecomputedMask(nn.Module):
    """The key intervals of every query in `[0, max_len)`, from which any shorter grid is cut.

    Args:
        mask: what is kept. Array parameters in it reach exactly `max_len` positions.
        max_len: most queries and keys.
        persistent: whether the buffers go into `state_dict`. A state of another mask does not load.

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
        self.mask, self.max_len = mask, max_len
        for name, edge in _edges(mask, max_len).items():
            self.register_buffer(name, edge, persistent=persistent)
        self._last: BoundMask | None = None

    @outside_graph
    def forward(
        self, q_len: int, kv_len: int, *, q_start: int | None = None, batch: int = 1, heads: int = 1
    ) -> BoundMask:
        """The mask on this grid, as `mask.bind` makes it; the last one is kept, so that it is lowered once.

        `q_start` may be left out when `q_len == kv_len`: then it is 0.

        Raises:
            ArgumentError: the grid reaches beyond `max_len`. GridError: `q_start` is missing, or batch or heads differ.
        """
        if q_start is None:
            if q_len != kv_len:
                raise missing_q_start(q_len, kv_len)
            q_start = 0
        if max(kv_len, q_start + q_len) > self.max_len:
            raise ArgumentError(
                f"the precomputed mask holds {self.max_len} positions, got queries up to {q_start + q_len} and "
                f"{kv_len} keys; precompute it for more, or pass mask="
            )
        grid = Grid.build(self.mask, q_len, kv_len, q_start=q_start, batch=batch, heads=heads)
        bound = self._last
        if bound is None or bound.grid != grid:
            bound = self._last = BoundMask(self.mask, grid, self._cut(grid))
        return bound

    def _cut(self, grid: Grid) -> Spans:
        # A cell does not depend on the grid's size: cutting off keys leaves what is true of the others.
        rows = (edge[:, :, grid.q_start : grid.q_end].numpy(force=True) for edge in (self.starts, self.ends))
        starts, ends = (np.minimum(np.moveaxis(edge, -1, 0), grid.kv_len, order="C") for edge in rows)
        return Spans(starts, ends, grid.kv_len).trim()

    def extra_repr(self) -> str:
        return f"{self.mask!r}, max_len={self.max_len}"

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        wanted = _edges(self.mask, self.max_len)
        found = {name: state_dict[prefix + name] for name in wanted if prefix + name in state_dict}
        if any(not torch.equal(edge.to("cpu", torch.int32), wanted[name]) for name, edge in found.items()):
            error_msgs.append(
                f"{prefix}starts and {prefix}ends must be those of the module's own mask, {self.mask!r}, found those "
                "of another; make the module with the mask that it was saved with"
            )
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _edges(mask: Mask, max_len: int) -> dict[str, torch.Tensor]:
    spans = mask.bind(max_len).spans
    return {name: torch.tensor(np.ascontiguousarray(getattr(spans, name))) for name in ("starts", "ends")}
