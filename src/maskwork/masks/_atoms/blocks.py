"""Positions in blocks: `chunked` (the same block, or near ones) and `block_causal` (the same or an earlier one)."""

from __future__ import annotations

from typing import Any

from ...spans import Spans, single
from .._arrays import Ints, as_int, as_lengths
from .._before_zero import from_zero
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.registry import Form, atom
from .._text.spec import Spec
from .documents import Packed
from .positions import full

_FAR = 1 << 40


class _Chunked(Mask):
    """The mask of `chunked`."""

    def __init__(self, size: int, left: int | None, right: int | None) -> None:
        self.size, self.left, self.right = size, left, right

    def _spec(self) -> Spec:
        sides = {name: side for name, side in (("left", self.left), ("right", self.right)) if side != 0}
        return Spec("chunked", (self.size,), sides)

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # The chunk of a query is [start, start + size); `_FAR` is beyond every position.
        start = queries - queries % self.size
        first = 0 if self.left is None else start - min(self.size * self.left, _FAR)
        last = kv_len if self.right is None else start + self.size + min(self.size * self.right, _FAR)
        return single(first, last, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = cell.query // self.size, cell.key // self.size
        near = ""
        if (self.left, self.right) != (0, 0):
            left, right = ("all" if side is None else f"{side}" for side in (self.left, self.right))
            near = f"; a chunk sees {left} before it and {right} after it"
        return f"query {cell.query} is in chunk {of_query}, key {cell.key} in chunk {of_key}{near}"


@atom(
    Form("chunked(size)", "k // size == q // size", "the same chunk of `size` positions"),
    Form("chunked(left=…)", "", "the same chunk, `left` chunks before it and `right` after it; None is all"),
)
def chunked(size: int, *, left: int | None = 0, right: int | None = 0) -> Mask:
    """Allow `k // size == q // size`: the same chunk of `size` positions (with `causal()`, Llama 4's local layers).

    Args:
        size: positions a chunk, at least 1. Chunks are counted from position 0; inside `within`, from each document's.
        left: chunks before the query's own that it sees too, at least 0; None = all of them.
        right: chunks after it, likewise. `mw.recipes.streaming` is the usual call.

    | library | its way to say `causal() & chunked(C)` |
    | --- | --- |
    | Hugging Face `attention_chunk_size` | `C` |
    | block-local attention of Longformer's baselines | one block of `C`, no look-back |

    >>> import maskwork as mw
    >>> mw.chunked(2).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    size = as_int(size, "chunked(size)", minimum=1)
    low, high = (
        None if side is None else as_int(side, f"chunked({name})", minimum=0)
        for name, side in (("left", left), ("right", right))
    )
    return full() if low is high is None else _Chunked(size, low, high)


class _BlockCausal(Packed):
    """The mask of `block_causal`."""

    def __init__(self, sizes: Ints) -> None:
        self.lengths = sizes

    def _spec(self) -> Spec:
        return Spec("block_causal", (self.lengths,))

    @from_zero
    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        # A block is stored like a document: the row ends where the query's block does.
        return single(0, self._documents(queries)[2], kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = (self._document_of(position, cell.batch)[0] for position in (cell.query, cell.key))
        return f"query {cell.query} is in block {of_query}, key {cell.key} in block {of_key}"


@atom(Form("block_causal(sizes)", "", "`k`'s block is `q`'s or an earlier one"))
def block_causal(sizes: Any) -> Mask:
    """Allow `block(k) <= block(q)`: all of the query's own block and of earlier blocks.

    Next-scale image generation (VAR, Tian et al. 2024) has one block per scale; chunked streaming one block per chunk.

    Args:
        sizes: int `(blocks,)` or `(B, blocks)`: positions in each block, one after the other. They sum to the
            sequence's length. A list of lists may be ragged. VAR's `patch_nums` are the sides: `[n * n for n in …]`.

    >>> import maskwork as mw
    >>> mw.block_causal([1, 2]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 1], [1, 1, 1]]
    """
    return _BlockCausal(as_lengths(sizes, "block_causal(sizes)"))
