"""`Derived`: a mask that is given by its cells on one grid, as `select` and `reach` compute them.

A selection of rows, or a reach through layers, is not a rule about positions any more. Its cells are undefined beyond
the grid on which they were computed, so that a text and the cells are all that such a mask stores.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ... import spans as sp
from ...errors import GridError, MaskError
from ...spans import Spans
from .._mask import Mask, Queries
from .._text.spec import Arrays


class Derived(Mask):
    """A mask that is given by its cells: `text` says how they were computed.

    Attributes:
        selected: whether rows and columns are those of a selection, whose positions the bound mask alone knows.
    """

    def __init__(self, text: str, spans: Spans, q_start: int | tuple[int, ...], selected: bool = False) -> None:
        self.text, self.spans, self.q_start, self.selected = text, spans, q_start, selected

    def __reduce__(self) -> tuple[Any, ...]:
        return Derived, (self.text, self.spans, self.q_start, self.selected)

    def _identity(self) -> tuple[Any, ...]:
        # Equal cells on equal positions make equal masks, whatever their texts say.
        planes = np.ascontiguousarray(self.spans.planes_starts), np.ascontiguousarray(self.spans.planes_ends)
        digest = hashlib.sha256(planes[0].tobytes() + planes[1].tobytes()).hexdigest()
        return ("derived", self.q_start, self.spans.kv_len, self.spans.planes_starts.shape, digest)

    @property
    def batch(self) -> int:
        return self.spans.shape[0]

    @property
    def heads(self) -> int:
        return self.spans.shape[1]

    def _write(self, arrays: Arrays) -> str:
        if arrays == "full":
            raise MaskError(f"a selection or reach is its cells, got no text that can be read back for {self.text:.60}")
        return self.text

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # Positions beyond the grid have no cells: raise rather than guess.
        starts = np.array(self.q_start, dtype=np.int64).reshape(-1, 1, 1)
        rows = queries - starts
        if kv_len != self.spans.kv_len or ((rows < 0) | (rows >= self.spans.shape[2])).any():
            first, end = int(starts.min()), int(starts.max()) + self.spans.shape[2]
            raise GridError(
                f"{self.text} is known on its own grid alone, queries "
                f"[{first}, {end}) and keys [0, {self.spans.kv_len}); derive it again on a larger one"
            )
        alike = rows.shape[:2] == (1, 1)
        return sp.pick_rows(self.spans, rows[0, 0]) if alike else sp.take_rows(self.spans, rows)
