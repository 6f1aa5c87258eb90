"""`blocks`: a table says which block of keys each block of queries sees, as block-sparse kernels take it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...errors import GridError, MaskError
from ...spans import Spans, scan_rows, take_rows
from .._arrays import Bools, as_bools, as_int, as_ints
from .._before_zero import from_zero
from .._extent import Extent
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec


class _Blocks(Mask):
    """The mask of `blocks`: a table `(B, H, nq, nk)` of blocks of `sides` queries and keys."""

    def __init__(self, table: Bools, sides: tuple[int, int]) -> None:
        self.table, self.sides = table, sides

    def _spec(self) -> Spec:
        table = self.table if len(self.table) > 1 else self.table[0]
        table = table[0] if table.shape[:-2] == (1,) else table
        q_side, k_side = self.sides
        return Spec("blocks", (table, q_side if q_side == k_side else np.array(self.sides)))

    @property
    def batch(self) -> int:
        return self.table.shape[0]

    @property
    def heads(self) -> int:
        return self.table.shape[1]

    def _check(self, extent: Extent) -> None:
        reach = [n * side for n, side in zip(self.table.shape[2:], self.sides, strict=True)]
        if reach[0] < extent.queries or reach[1] < extent.keys:
            raise GridError(
                f"the table covers the grid's {extent.queries} queries and {extent.keys} keys, or cells would be "
                f"undefined, got {self!r}, which covers {reach[0]} and {reach[1]}; add rows or columns of blocks"
            )

    @cached_property
    def _runs(self) -> Spans:
        """The runs of blocks in each block row, in numbers of blocks."""
        batch, heads, rows, columns = self.table.shape
        return scan_rows([self.table.reshape(-1, columns)], (batch, heads, rows), columns)

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        q_side, k_side = self.sides
        rows = take_rows(self._runs, queries // q_side)
        # A slot that is not used is at the last block on both sides, and stays empty.
        sides = (
            np.minimum(planes.astype(np.int64) * k_side, kv_len) for planes in (rows.planes_starts, rows.planes_ends)
        )
        starts, ends = (side.astype(np.int32) for side in sides)
        starts, ends = (np.where(starts < ends, side, np.int32(kv_len)) for side in (starts, ends))
        return Spans(starts, ends, kv_len).trim()

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = cell.query // self.sides[0], cell.key // self.sides[1]
        batch, heads = (i if n > 1 else 0 for i, n in zip((cell.batch, cell.head), self.table.shape[:2], strict=True))
        marked = self.table[batch, heads, of_query, of_key]
        return (
            f"query {cell.query} is in block {of_query}, key {cell.key} in block {of_key}; the table "
            f"{'allows' if marked else 'leaves out'} that pair"
        )


@atom(
    Form(
        "blocks(table, size)",
        "table[q // size, k // size]",
        "blocks of queries see blocks of keys; one table, or one per head",
    )
)
def blocks(table: Any, size: Any) -> Mask:
    """Allow the cells whose block a table marks: block-sparse attention with a layout for each head.

    Sparse Transformer's block layouts (Child et al. 2019), DeepSpeed's `SparsityConfig.make_layout`, MInference's and
    XAttention's block masks, MoBA's chosen blocks. Time and memory are linear in the sequence for a given table.

    Args:
        table: bool or 0/1 integers, `(nq, nk)`, `(H, nq, nk)` with one for each query head, or `(B, H, nq, nk)`:
            whether the queries `[i * size, (i + 1) * size)` see the keys of block `j`. The grid may cut a last
            block.
        size: positions a block, at least 1: an int, or a pair for queries and keys.

    Raises:
        MaskError: the table has other dimensions, or the size is no positive integer or pair of them.
        GridError: on binding, the table does not cover the grid.

    | library | its way to say `blocks(table, size)` |
    | --- | --- |
    | DeepSpeed `SparseSelfAttention` | `layout` `(H, n, n)` of `make_layout`, `block` |
    | FlexAttention `BlockMask.from_kv_blocks` without `mask_mod` | the full blocks, `BLOCK_SIZE` |
    | SpargeAttn, MInference block masks | `mask_id` `(B, H, nq, nk)`, block sizes `(128, 64)` |

    >>> import maskwork as mw
    >>> mw.blocks([[1, 0], [1, 1]], 2).bind(4).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    """
    marks = as_bools(table, "blocks(table)", ndims=(2, 3, 4), hint="pass (batch rows, heads, blocks, blocks)")
    if marks.ndim < 4:
        marks = marks.reshape((1,) * (4 - marks.ndim) + marks.shape)
    if not marks.size:
        raise MaskError(f"blocks(table) has at least one block, got shape {marks.shape}; pass a table of flags")
    return _Blocks(marks, _pair(size))


def _pair(size: Any) -> tuple[int, int]:
    """Return the sides of a block, from an int or a pair."""
    if not isinstance(size, (list, tuple)) and not getattr(size, "ndim", 0):
        side = as_int(size, "blocks(size)", minimum=1, maximum=2**31 - 1)
        return side, side
    sides = as_ints(size, "blocks(size)", ndims=(1,), minimum=1).tolist()
    if len(sides) != 2 or max(sides) > 2**31 - 1:
        raise MaskError(f"blocks(size) is an int or a pair for queries and keys, got {sides}; pass one of these")
    return sides[0], sides[1]
