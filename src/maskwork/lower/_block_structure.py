"""Which blocks of a bound mask are full, and which are partly allowed: both directions as CSR, from exact counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import spans as sp
from ..spans import Spans

Ints = npt.NDArray[np.int64]

# Counts of 2**20 blocks at a time are 8 MiB, whatever the length of the sequence.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Csr:
    """Sorted column indices of each row: row `r` holds `columns[offsets[r]:offsets[r + 1]]`."""

    columns: Ints
    sizes: Ints

    @staticmethod
    def of(rows: Ints, columns: Ints, n_rows: int) -> Csr:
        """From pairs sorted by row, then column."""
        return Csr(columns, np.bincount(rows, minlength=n_rows))

    @property
    def widest(self) -> int:
        """The most columns of any row."""
        return int(self.sizes.max(initial=0))

    def padded(self, width: int) -> npt.NDArray[np.int32]:
        """int32 `(rows, width)`: the columns of each row first, then zeros that nobody reads."""
        # calloc leaves the padding untouched, so that only the pages that hold columns take memory
        out = np.zeros((len(self.sizes), width), dtype=np.int32)
        first = np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        out[np.repeat(np.arange(len(self.sizes)), self.sizes), np.arange(len(self.columns)) - first] = self.columns
        return out


@dataclass(frozen=True)
class BlockStructure:
    """The non-empty blocks, `q_blocks x k_blocks` in each of `(B, H)` planes; rows are numbered through all planes."""

    partial: Csr
    full: Csr
    partial_transposed: Csr
    full_transposed: Csr
    q_blocks: int
    k_blocks: int


def block_structure(spans: Spans, block_size: int) -> BlockStructure:
    """Classify every block of `block_size x block_size` cells by its exact count.

    A block is full only when it lies wholly inside the grid and all its cells are allowed: at an edge that is no
    multiple of the block size there are cells beyond the sequence, which nobody may see.
    """
    batch, heads, rows = spans.shape
    q_blocks, k_blocks = -(-rows // block_size), -(-spans.kv_len // block_size)
    k_edges = np.minimum(np.arange(k_blocks + 1, dtype=np.int64) * block_size, spans.kv_len)
    found: list[list[tuple[Ints, Ints, Ints]]] = [[], []]
    step = max(1, _CHUNK // max(1, batch * heads * k_blocks))
    for first in range(0, q_blocks, step):
        last = min(first + step, q_blocks)
        part = spans.rows(first * block_size, min(last * block_size, rows))
        q_edges = np.minimum(np.arange(last - first + 1, dtype=np.int64) * block_size, part.shape[2])
        counts = sp.count_tiles(part, q_edges, k_edges)
        full = counts == block_size * block_size
        for kind, cells in zip(found, ((counts > 0) & ~full, full), strict=True):
            b, h, i, j = (np.asarray(axis, dtype=np.int64) for axis in np.nonzero(cells))
            kind.append((b * heads + h, i + first, j))
    pairs = [_both(kind, batch * heads, q_blocks, k_blocks) for kind in found]
    return BlockStructure(pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1], q_blocks, k_blocks)


def _both(found: list[tuple[Ints, Ints, Ints]], planes: int, q_blocks: int, k_blocks: int) -> tuple[Csr, Csr]:
    """The CSR by query block and the CSR by key block of the same blocks; no dense matrix on the way."""
    empty = np.zeros(0, dtype=np.int64)
    plane, i, j = (np.concatenate([empty, *part]) for part in zip(*found, strict=True)) if found else (empty,) * 3
    order = np.argsort(plane * q_blocks + i, kind="stable")
    forward = Csr.of((plane * q_blocks + i)[order], j[order], planes * q_blocks)
    back = np.argsort((plane * k_blocks + j)[order], kind="stable")
    return forward, Csr.of((plane * k_blocks + j)[order][back], i[order][back], planes * k_blocks)
