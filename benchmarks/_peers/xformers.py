"""xFormers: each class of `fmha.attn_bias`, by the conditions of its docstring, written here as formulas.

A mask of one sequence is a window that is aligned at its start or at its end; a block-diagonal mask is one such block
per sequence. In memory, the keys of a sequence may be followed (padded) or separated (gappy) by keys that nobody sees,
or lie in pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .flash_attention import PACKS, block_diagonal, padded
from .table import GRIDS, Array, Case, Peer, positions

PEER = Peer("xFormers", "the formulas of its documentation")

WINDOWS = (1, 2, 4)


def block(q_len: int, kv_len: int, align: str, left: int | None = None, right: int | None = 0) -> Array:
    """Return the cells of one sequence: keys from `left` before to `right` after the query, None = without bound."""
    q, k = positions(q_len, kv_len)
    at = q + (kv_len - q_len if align == "end" else 0)
    allowed = np.ones((q_len, kv_len), dtype=bool)
    if left is not None:
        allowed &= at - k <= left
    if right is not None:
        allowed &= k - at <= right
    return allowed


@PEER.row("`LowerTriangularMask()`", "causal().bind(q_len, kv_len, q_start=0)")
def lower_triangular() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        yield {"theirs": block(q_len, kv_len, "start"), "q_len": q_len, "kv_len": kv_len}


@PEER.row("`LowerTriangularFromBottomRightMask()`", "causal().bind(q_len, kv_len, q_start=kv_len - q_len)")
def bottom_right() -> Iterator[Case]:
    for q_len, kv_len in GRIDS:
        yield {"theirs": block(q_len, kv_len, "end"), "q_len": q_len, "kv_len": kv_len}


@PEER.row(
    "`LowerTriangularFromBottomRightLocalAttentionMask(W)`",
    "sliding_window(W).bind(q_len, kv_len, q_start=kv_len - q_len)",
)
def bottom_right_local() -> Iterator[Case]:
    for (q_len, kv_len), size in product(GRIDS, WINDOWS):
        yield {"theirs": block(q_len, kv_len, "end", size - 1), "q_len": q_len, "kv_len": kv_len, "W": size}


@PEER.row(
    "`LocalAttentionFromBottomRightMask(left, right)`",
    "band(left, right).bind(q_len, kv_len, q_start=kv_len - q_len)",
)
def local_from_bottom_right() -> Iterator[Case]:
    for (q_len, kv_len), left, right in product(GRIDS, (0, 1, 3), (0, 1, 3)):
        case = {"q_len": q_len, "kv_len": kv_len, "left": left, "right": right}
        yield {"theirs": block(q_len, kv_len, "end", left, right), **case}


def _packs(align: str, left: int | None = None, right: int | None = 0) -> Iterator[Case]:
    for q_lengths, k_lengths in PACKS:
        blocks = [block(q, k, align, left, right) for q, k in zip(q_lengths, k_lengths, strict=True)]
        yield {"theirs": block_diagonal(blocks), "q_lengths": q_lengths, "k_lengths": k_lengths,
               "q_len": sum(q_lengths), "kv_len": sum(k_lengths)}  # fmt: skip


@PEER.row("`BlockDiagonalMask.from_seqlens(n)`", "document(n).bind(sum(n))")
def block_diagonal_alike() -> Iterator[Case]:
    for lengths in ([7, 9], [1, 1], [4]):
        yield {"theirs": block_diagonal([block(n, n, "start", None, None) for n in lengths]), "n": lengths}


@PEER.row("`BlockDiagonalCausalMask.from_seqlens(n)`", "(causal() & document(n)).bind(sum(n))")
def block_diagonal_causal_alike() -> Iterator[Case]:
    for lengths in ([7, 9], [1, 1], [4]):
        yield {"theirs": block_diagonal([block(n, n, "start") for n in lengths]), "n": lengths}


@PEER.row(
    "`BlockDiagonalMask.from_seqlens(q_lengths, k_lengths)`",
    "packed(full(), q_lengths, k_lengths, align='start').bind(q_len, kv_len, q_start=0)",
)
def block_diagonal_unlike() -> Iterator[Case]:
    yield from _packs("start", None, None)


@PEER.row(
    "`BlockDiagonalCausalMask.from_seqlens(q_lengths, k_lengths)`",
    "packed(causal(), q_lengths, k_lengths, align='start').bind(q_len, kv_len, q_start=0)",
    note="aligned at the start of each sequence",
)
def block_diagonal_causal() -> Iterator[Case]:
    yield from _packs("start")


@PEER.row(
    "`BlockDiagonalCausalFromBottomRightMask…`",
    "packed(causal(), q_lengths, k_lengths, align='end').bind(q_len, kv_len, q_start=0)",
)
def block_diagonal_bottom_right() -> Iterator[Case]:
    yield from _packs("end")


@PEER.row(
    "`….make_local_attention(W)`",
    "packed(sliding_window(W), q_lengths, k_lengths, align='start').bind(q_len, kv_len, q_start=0)",
)
def block_diagonal_local() -> Iterator[Case]:
    for size in WINDOWS:
        for case in _packs("start", size - 1):
            yield {**case, "W": size}


@PEER.row(
    "`….make_local_attention_from_bottomright(W)`",
    "packed(sliding_window(W), q_lengths, k_lengths, align='end').bind(q_len, kv_len, q_start=0)",
)
def block_diagonal_local_bottom_right() -> Iterator[Case]:
    for size in WINDOWS:
        for case in _packs("end", size - 1):
            yield {**case, "W": size}


PADDED = (([2, 1, 3], [3, 5, 4]), ([1, 1, 1], [6, 1, 3]), ([4, 2, 2], [2, 6, 1]))
PADDING = 6


def _padded(left: int | None, right: int | None) -> Iterator[Case]:
    """Yield sequences whose keys have 6 slots each, the rest of which nobody sees."""
    for q_lengths, k_lengths in PADDED:
        blocks = [padded(block(q, k, "end", left, right), PADDING) for q, k in zip(q_lengths, k_lengths, strict=True)]
        yield {"theirs": block_diagonal(blocks), "q_lengths": q_lengths, "k_lengths": k_lengths,
               "q_len": sum(q_lengths), "kv_padding": PADDING, "kv_len": PADDING * len(k_lengths)}  # fmt: skip


_WITH_ROOM = (
    "packed({}, q_lengths, k_lengths, k_starts=[i * kv_padding for i in range(len(k_lengths))])"
    ".bind(q_len, kv_len, q_start=0)"
)


@PEER.row(
    "`BlockDiagonalPaddedKeysMask…`",
    _WITH_ROOM.format("full()"),
    note="`k_starts`: the first key of each sequence; causal and local kinds take their mask in place of `full()`",
)
def padded_keys() -> Iterator[Case]:
    yield from _padded(None, None)


@PEER.row("`BlockDiagonalCausalWithOffsetPaddedKeysMask…`", _WITH_ROOM.format("causal()"), shown=False)
def padded_keys_causal() -> Iterator[Case]:
    yield from _padded(None, 0)


@PEER.row("`BlockDiagonalLocalAttentionPaddedKeysMask…`", _WITH_ROOM.format("band(left, right)"), shown=False)
def padded_keys_local() -> Iterator[Case]:
    for left, right in product((0, 1, 3), (0, 1, 3)):
        for case in _padded(left, right):
            yield {**case, "left": left, "right": right}


@PEER.row("`BlockDiagonalCausalLocalAttentionPaddedKeysMask…`", _WITH_ROOM.format("sliding_window(W)"), shown=False)
def padded_keys_causal_local() -> Iterator[Case]:
    for size in WINDOWS:
        for case in _padded(size - 1, 0):
            yield {**case, "W": size}


def _gappy(right: int | None) -> Iterator[Case]:
    """Yield sequences whose keys begin where `starts` says, in any distance from one another."""
    for (q_lengths, k_lengths), starts in product(PADDED, ([1, 8, 14], [0, 6, 12])):
        cells = np.zeros((sum(q_lengths), 20), dtype=bool)
        row = 0
        for q, k, start in zip(q_lengths, k_lengths, starts, strict=True):
            cells[row : row + q, start : start + k] = block(q, k, "end", None, right)
            row += q
        yield {"theirs": cells, "q_lengths": q_lengths, "k_lengths": k_lengths, "kv_seqstarts": starts,
               "q_len": sum(q_lengths), "kv_len": 20}  # fmt: skip


_GAPPY = "packed({}, q_lengths, k_lengths, k_starts=kv_seqstarts).bind(q_len, kv_len, q_start=0)"


@PEER.row("`BlockDiagonalGappyKeysMask…`", _GAPPY.format("full()"))
def gappy_keys() -> Iterator[Case]:
    yield from _gappy(None)


@PEER.row("`BlockDiagonalCausalWithOffsetGappyKeysMask…`", _GAPPY.format("causal()"), shown=False)
def gappy_keys_causal() -> Iterator[Case]:
    yield from _gappy(0)


@PEER.row(
    "`PagedBlockDiagonal…PaddedKeysMask`",
    "packed(causal(), q_lengths, k_lengths, pages=block_tables, page_size=page_size).bind(q_len, kv_len, q_start=0)",
    note="for gappy keys `k_starts=` too, which count the slots of the sequence's own pages",
)
def paged_keys() -> Iterator[Case]:
    for (q_lengths, k_lengths), order in product(PADDED, ([0, 1, 2, 3, 4, 5], [5, 2, 0, 4, 1, 3])):
        page = 4  # each sequence has two pages, of which `order` says the place in memory
        blocks = [block(q, k, "end") for q, k in zip(q_lengths, k_lengths, strict=True)]
        first = np.cumsum([0, *k_lengths[:-1]])
        slots = np.full((6, page), -1)
        for sequence, n in enumerate(k_lengths):
            keys = np.full(2 * page, -1)
            keys[:n] = first[sequence] + np.arange(n)
            slots[[order[2 * sequence], order[2 * sequence + 1]]] = keys.reshape(2, page)
        slots = slots.ravel()
        theirs = np.where(slots >= 0, block_diagonal(blocks)[:, slots], False)
        yield {"theirs": theirs, "q_lengths": q_lengths, "k_lengths": k_lengths, "q_len": sum(q_lengths),
               "kv_len": len(slots), "block_tables": np.reshape(order, (3, 2)), "page_size": page,
               "slots": slots}  # fmt: skip


@PEER.row(
    "`PagedBlockDiagonal…PaddedKeysMask`, through the keys of each slot",
    "packed(causal(), q_lengths, k_lengths).bind(q_len, sum(k_lengths), q_start=0).select(k=slots)",
    shown=False,
)
def paged_keys_selected() -> Iterator[Case]:
    yield from paged_keys()
