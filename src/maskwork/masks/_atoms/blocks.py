"""Positions in blocks: `chunked` (the same block) and `block_causal` (the same block or an earlier one)."""

from __future__ import annotations

from typing import Any

from ...spans import Spans, single
from .._arrays import Ints, as_int, as_lengths
from .._mask import Mask, Queries
from .._questions.explain import Cell, Row
from .._text.written import Written
from .documents import Packed


class _Chunked(Mask):
    """See `chunked`."""

    def __init__(self, size: int) -> None:
        self.size = size

    def _written(self) -> Written:
        return Written("chunked", (self.size,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        start = queries - queries % self.size
        return single(start, start + self.size, kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = cell.query // self.size, cell.key // self.size
        return f"query {cell.query} is in chunk {of_query}, key {cell.key} in chunk {of_key}"


def chunked(size: int) -> Mask:
    """`k // size == q // size`: the same chunk of `size` positions (Llama 4's local layers; with `causal()`).

    Args:
        size: positions a chunk, at least 1. Chunks are counted from position 0; inside `within`, from each document's.

    | library | its way to say `causal() & chunked(C)` |
    | --- | --- |
    | Hugging Face `attention_chunk_size` | `C` |
    | block-local attention of Longformer's baselines | one block of `C`, no look-back |

    >>> import maskwork as mw
    >>> mw.chunked(2).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    return _Chunked(as_int(size, "chunked(size)", minimum=1))


class _BlockCausal(Packed):
    """See `block_causal`."""

    def __init__(self, sizes: Ints) -> None:
        self.lengths = sizes

    def _written(self) -> Written:
        return Written("block_causal", (self.lengths,))

    def _spans(self, queries: Queries, kv_len: int) -> Spans:
        return single(0, self._documents(queries)[2], kv_len)

    def _reason(self, cell: Cell, row: Row) -> str:
        of_query, of_key = (self._document_of(position, cell.batch)[0] for position in (cell.query, cell.key))
        return f"query {cell.query} is in block {of_query}, key {cell.key} in block {of_key}"


def block_causal(sizes: Any) -> Mask:
    """`block(k) <= block(q)`: all of a query's own block, and of those before it.

    Next-scale image generation (VAR, Tian et al. 2024) has one block a scale; chunked streaming one block a chunk.

    Args:
        sizes: int `(blocks,)` or `(B, blocks)`: positions in each block, one after the other. They sum to the
            sequence's length. A list of lists may be ragged. VAR's `patch_nums` are the sides: `[n * n for n in …]`.

    >>> import maskwork as mw
    >>> mw.block_causal([1, 2]).bind(3).dense().astype(int)[0, 0].tolist()
    [[1, 0, 0], [1, 1, 1], [1, 1, 1]]
    """
    return _BlockCausal(as_lengths(sizes, "block_causal(sizes)"))
