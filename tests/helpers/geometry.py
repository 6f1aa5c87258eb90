"""Geometry for tests: spans of dense cells, blocks classified cell by cell, and scattered runs."""

import numpy as np

import maskwork as mw
from helpers.strategies import Case
from maskwork import spans as sp

GridOf = tuple[int, int, int]


def spans_of(cells: np.ndarray) -> sp.Spans:
    """Return the spans of a bool array `(B, H, Q, K)`."""
    *rows, kv_len = cells.shape
    return sp.scan_rows([cells.reshape(np.prod(rows), kv_len)], tuple(rows), kv_len)


def bind(case: Case, grid: GridOf) -> mw.BoundMask:
    q_start, q_len, kv_len = grid
    return case.mask.bind(q_len, kv_len, q_start=q_start)


def dense_blocks(dense: np.ndarray, q_size: int, kv_size: int, short_is_full: bool) -> np.ndarray:
    """Classify every block from its cells: 0 empty, 1 partial, 2 full."""
    batch, heads, q_len, kv_len = dense.shape
    out = np.zeros((batch, heads, -(-q_len // q_size), -(-kv_len // kv_size)), dtype=np.int8)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            block = dense[..., i * q_size : (i + 1) * q_size, j * kv_size : (j + 1) * kv_size]
            may_be_full = short_is_full or block.shape[2:] == (q_size, kv_size)
            out[..., i, j] = block.any((-1, -2)).astype(np.int8) + (block.all((-1, -2)) & may_be_full)
    return out


def scattered(rng: np.random.Generator, rows: int, kv_len: int, runs: int) -> sp.Spans:
    edges = np.sort(rng.integers(0, kv_len + 1, (2 * runs, 1, 1, rows)), axis=0)
    out = sp.single(edges[0], edges[1], kv_len)
    for i in range(2, 2 * runs, 2):
        out = sp.union(out, sp.single(edges[i], edges[i + 1], kv_len))
    return out
