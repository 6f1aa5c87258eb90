"""`rectangles`: a list of rectangles of queries and keys, each whole or cut along a diagonal."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ... import spans as sp
from ...errors import MaskError
from ...spans import Spans
from .._arrays import Ints, as_array, as_ints, batch_of
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec

# Rows are queries [q0, q1), columns keys [k0, k1), here 3 x 5:
#
#    full        causal      inverse     bicausal
#    █ █ █ █ █   █ █ █ · ·   █ █ █ █ █   █ █ █ · ·     causal ends in the last corner: k - k1 <= q - q1
#    █ █ █ █ █   █ █ █ █ ·   · █ █ █ █   · █ █ █ ·     inverse starts in the first:    k - k0 >= q - q0
#    █ █ █ █ █   █ █ █ █ █   · · █ █ █   · · █ █ █
_KINDS = ("full", "causal", "inverse_causal", "bicausal")


class _Rectangles(Mask):
    """The mask of `rectangles`: ranges `(N, 2)` or `(B, N, 2)`, and the number of each kind, `(N,)` or `(B, N)`."""

    many_runs = True

    def __init__(self, q_ranges: Ints, k_ranges: Ints, kinds: Ints) -> None:
        self.q_ranges, self.k_ranges, self.kinds = q_ranges, k_ranges, kinds

    def _spec(self) -> Spec:
        args = (self.q_ranges, self.k_ranges)
        return Spec("rectangles", (*args, self.kinds) if self.kinds.any() else args)

    @property
    def batch(self) -> int:
        return batch_of(self.kinds)

    @cached_property
    def _by_row(self) -> list[_OneRow]:
        """The rectangles of each batch row."""
        lead = (-1, self.kinds.shape[-1])
        ranges = [side.reshape(*lead, 2) for side in (self.q_ranges, self.k_ranges)]
        return [_OneRow(*row) for row in zip(*ranges, self.kinds.reshape(lead), strict=True)]

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        parts: list[Spans] = []
        for b in range(max(self.batch, len(queries))):
            rows = self._by_row[b if self.batch > 1 else 0]
            parts.append(rows.spans(queries[b if len(queries) > 1 else 0][None], kv_len))
        return sp.join_batch(parts)

    def _reason(self, cell: Cell, row: Row) -> str:
        number = self._by_row[cell.batch if self.batch > 1 else 0].rectangle_of(cell.query, cell.key)
        return "no rectangle holds it" if number is None else f"rectangle {number} holds it"


class _OneRow:
    """The rectangles of one batch row."""

    def __init__(self, q_ranges: Ints, k_ranges: Ints, kinds: Ints) -> None:
        self.q, self.k, self.kinds = q_ranges, k_ranges, kinds
        # Between two neighbouring edges, all queries see the same whole rectangles.
        self.edges = np.unique(q_ranges)

    def spans(self, queries: Queries, kv_len: int) -> Spans:
        """Return the rows at positions `(1, 1, Q)`."""
        whole = self.kinds == 0
        q, k = self.q[whole], self.k[whole]
        strip, owner = sp.repeat_ranges(*(np.searchsorted(self.edges, q[:, side], side="right") for side in (0, 1)))
        strips = sp.merge_runs(strip, k[owner, 0], k[owner, 1], (1, 1, len(self.edges) + 1), kv_len)
        rows = sp.take_rows(strips, np.searchsorted(self.edges, queries, side="right"))
        return (
            rows if whole.all() else sp.union(rows, sp.by_chunks(queries, kv_len, lambda part: self._cut(part, kv_len)))
        )

    def _cut(self, queries: Queries, kv_len: int) -> Spans:
        """Return the rows of the rectangles that are cut along a diagonal."""
        names, index = sp.distinct(queries)
        cut = self.kinds > 0
        q, k, kinds = self.q[cut], self.k[cut], self.kinds[cut]
        row, owner = sp.repeat_ranges(*(np.searchsorted(names, q[:, side]) for side in (0, 1)))
        start, end = _keys(names[row], q[owner], k[owner], kinds[owner])
        return sp.take_rows(sp.merge_runs(row, start, end, (1, 1, len(names)), kv_len), index)

    def rectangle_of(self, query: int, key: int) -> int | None:
        """Return the first rectangle that holds the cell."""
        start, end = _keys(np.int64(query), self.q, self.k, self.kinds)
        holds = (self.q[:, 0] <= query) & (query < self.q[:, 1]) & (start <= key) & (key < end)
        return int(holds.argmax()) if holds.any() else None


def _keys(query: Any, q: Ints, k: Ints, kinds: Ints) -> tuple[Ints, Ints]:
    """Return first and one past the last key of each query in its rectangle."""
    start = np.where(kinds & 2, np.maximum(k[:, 0], query - q[:, 0] + k[:, 0]), k[:, 0])
    end = np.where(kinds & 1, np.minimum(k[:, 1], query - q[:, 1] + k[:, 1] + 1), k[:, 1])
    return start, end


@atom(Form("rectangles(q_ranges, k_ranges)", "", "a rectangle of queries and keys holds both, whole or cut diagonally"))
def rectangles(q_ranges: Any, k_ranges: Any, kinds: Any = "full") -> Mask:
    """Allow `q` and `k` that lie in one of these rectangles, each whole or cut along a diagonal.

    The slices of MagiAttention (Sand.ai 2025). Rectangles may overlap; a query or a key outside all of them sees
    nothing and is seen by none.

    Args:
        q_ranges: int `(N, 2)` or `(B, N, 2)`: start and end of the queries of each rectangle.
        k_ranges: of the same shape: start and end of its keys.
        kinds: one for all, or one for each rectangle, `(N,)` or `(B, N)`, as words or numbers: "full" 0; "causal" 1,
            `k - k_end <= q - q_end`, whose last query sees the last key; "inverse_causal" 2, `k - k_start >= q -
            q_start`, whose first query sees the first key; "bicausal" 3, the two together.

    Raises:
        MaskError: the shapes differ, a range ends before it starts, or a kind has no such name.

    | library | its way to say `rectangles(q_ranges, k_ranges, kinds)` |
    | --- | --- |
    | MagiAttention `flex_flash_attn_func` | the same ranges, `attn_type_map` as `kinds` |

    >>> import maskwork as mw
    >>> mw.rectangles([[0, 2], [2, 4]], [[0, 2], [1, 4]], ["full", "causal"]).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    """
    if hasattr(q_ranges, "__len__") and not len(q_ranges):
        raise MaskError("rectangles takes at least one, got none; write mw.empty() where no cell is allowed")
    sides = [
        as_ints(value, f"rectangles({name})", ndims=(2, 3))
        for value, name in ((q_ranges, "q_ranges"), (k_ranges, "k_ranges"))
    ]
    for side, name in zip(sides, ("q_ranges", "k_ranges"), strict=True):
        if side.shape[-1] != 2 and side.size:
            raise MaskError(f"rectangles({name}) holds (start, end) pairs, got shape {side.shape}; pass (N, 2)")
        if side.size and (side[..., 0] > side[..., 1]).any():
            start, end = side[side[..., 0] > side[..., 1]][0].tolist()
            raise MaskError(f"a rectangle's range ends after it starts, got [{start}, {end}); swap the two")
    if sides[0].shape != sides[1].shape:
        raise MaskError(
            f"rectangles takes a range of queries and of keys for each, got shapes {sides[0].shape} and "
            f"{sides[1].shape}; pass two arrays of one shape"
        )
    return _Rectangles(sides[0], sides[1], _kinds(kinds, sides[0].shape[:-1]))


def _kinds(value: Any, shape: tuple[int, ...]) -> Ints:
    """Return the number of each rectangle's kind, from numbers or words, one for all or one for each."""
    array = as_array(value, "rectangles(kinds)", "kinds", (0, 1, 2))
    if array.dtype.kind in "UO":
        unknown = [word for word in array.ravel().tolist() if word not in _KINDS]
        if unknown:
            raise MaskError(
                f"the kinds of rectangles are {', '.join(_KINDS)}, got {unknown[0]!r:.40}; pass one of them"
            )
        array = np.array([_KINDS.index(word) for word in array.ravel().tolist()], dtype=np.int64).reshape(array.shape)
    numbers = as_ints(array, "rectangles(kinds)", ndims=(0, 1, 2), squeeze=False)
    if numbers.size and numbers.max() >= len(_KINDS):
        raise MaskError(
            f"the kinds of rectangles are {', '.join(_KINDS)}, 0 to 3, got {numbers.max()}; pass one of them"
        )
    if numbers.ndim == 2 and len(numbers) == 1 and len(shape) == 1:
        numbers = numbers[0]
    if numbers.ndim and numbers.shape != shape:
        raise MaskError(
            f"rectangles takes one kind for each, {shape}, got shape {numbers.shape}; pass as many as ranges"
        )
    numbers = np.broadcast_to(numbers, shape).copy()
    numbers.setflags(write=False)
    return numbers
