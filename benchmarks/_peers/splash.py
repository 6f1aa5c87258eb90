"""JAX's splash attention: the masks of its documentation, written here as formulas."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .table import GRIDS, Array, Case, Peer, positions

PEER = Peer("JAX splash attention", "the formulas of its documentation")

OFFSETS = (-2, 0, 3)
SIZES = (None, 0, 1, 3)


def causal_cells(q_len: int, kv_len: int, offset: int = 0) -> Array:
    """Return the cells of `CausalMask`: the offset is added to the position of each query."""
    q, k = positions(q_len, kv_len)
    return k <= q + offset


def local_cells(q_len: int, kv_len: int, left: int | None, right: int | None, offset: int = 0) -> Array:
    """Return the cells of `LocalMask`, whose sides are inclusive and None where there is no bound."""
    q, k = positions(q_len, kv_len)
    allowed = np.ones((q_len, kv_len), dtype=bool)
    if left is not None:
        allowed &= k >= q + offset - left
    if right is not None:
        allowed &= k <= q + offset + right
    return allowed


@PEER.row("`CausalMask(shape, offset)`", "causal().bind(q_len, kv_len, q_start=offset)")
def causal() -> Iterator[Case]:
    for (q_len, kv_len), offset in product(GRIDS, OFFSETS):
        yield {"theirs": causal_cells(q_len, kv_len, offset), "q_len": q_len, "kv_len": kv_len, "offset": offset}


@PEER.row("`LocalMask(shape, (left, right), offset)`", "band(left, right).bind(q_len, kv_len, q_start=offset)")
def local() -> Iterator[Case]:
    for (q_len, kv_len), offset, left, right in product(GRIDS, OFFSETS, SIZES, SIZES):
        case = {"q_len": q_len, "kv_len": kv_len, "offset": offset, "left": left, "right": right}
        yield {"theirs": local_cells(q_len, kv_len, left, right, offset), **case}


@PEER.row("`ChunkedCausalMask(shape, size)`", "(causal() & chunked(size)).bind(q_len, kv_len, q_start=0)")
def chunked() -> Iterator[Case]:
    for (q_len, kv_len), size in product(GRIDS, (1, 2, 3, 5)):
        q, k = positions(q_len, kv_len)
        yield {"theirs": (q // size == k // size) & (k <= q), "q_len": q_len, "kv_len": kv_len, "size": size}


@PEER.row("`FullMask(shape)`", "full().bind(q_len, kv_len)")
def full() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        yield {"theirs": np.ones((q_len, kv_len), dtype=bool), "q_len": q_len, "kv_len": kv_len}


@PEER.row("`NumpyMask(array)`", "from_dense(array).bind(*array.shape, q_start=0)")
def arrays() -> Iterator[Case]:
    for i, (q_len, kv_len) in enumerate(GRIDS):
        array = np.random.default_rng(i).random((q_len, kv_len)) < 0.5
        yield {"theirs": array, "array": array}


@PEER.row("`MultiHeadMask([a, b])`", "per_head([a, b]).bind(q_len, kv_len, q_start=0)")
def heads() -> Iterator[Case]:
    import maskwork as mw

    for (q_len, kv_len), left in product(GRIDS, (0, 1, 3)):
        cells = np.stack([causal_cells(q_len, kv_len), local_cells(q_len, kv_len, left, None)])
        yield {"theirs": cells[None], "q_len": q_len, "kv_len": kv_len, "a": mw.causal(), "b": mw.band(left, None)}


@PEER.row("`a & b`, `a | b`", "(a & b | c).bind(q_len, kv_len, q_start=0)")
def operators() -> Iterator[Case]:
    import maskwork as mw

    for (q_len, kv_len), left, right in product(GRIDS, (0, 2), (1, 3)):
        cells = local_cells(q_len, kv_len, left, None) & causal_cells(q_len, kv_len)
        cells |= local_cells(q_len, kv_len, 0, right)
        yield {"theirs": cells, "q_len": q_len, "kv_len": kv_len, "a": mw.band(left, None), "b": mw.causal(),
               "c": mw.band(0, right)}  # fmt: skip


@PEER.row("`SegmentIds(q, kv)`", "match(q_ids, k_ids).bind(q_len, kv_len, q_start=0)")
def segments() -> Iterator[Case]:
    for i, (q_len, kv_len) in enumerate(GRIDS * 3):
        random = np.random.default_rng(i)
        q_ids, k_ids = random.integers(0, 3, q_len), random.integers(0, 3, kv_len)
        yield {"theirs": q_ids[:, None] == k_ids, "q_ids": q_ids, "k_ids": k_ids, "q_len": q_len, "kv_len": kv_len}


@PEER.row("`CausalMask` and `SegmentIds`", "(causal() & match(q_ids, k_ids)).bind(q_len, kv_len, q_start=0)")
def segments_causal() -> Iterator[Case]:
    for i, (q_len, kv_len) in enumerate(GRIDS * 3):
        random = np.random.default_rng(i)
        q_ids, k_ids = np.sort(random.integers(0, 3, q_len)), np.sort(random.integers(0, 3, kv_len))
        cells = (q_ids[:, None] == k_ids) & causal_cells(q_len, kv_len)
        yield {"theirs": cells, "q_ids": q_ids, "k_ids": k_ids, "q_len": q_len, "kv_len": kv_len}
