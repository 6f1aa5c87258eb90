"""Random masks, each beside its plain definition: a function of (b, h, q, k) on dense arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

import maskwork as mw
from maskwork.errors import GridError

#: (b, h, q, k) index arrays -> bool array
Cell = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

LENGTH = 12
BATCH = 3
HEADS = 4


@dataclass(frozen=True)
class Case:
    mask: mw.Mask
    cell: Cell

    def dense(self, q_start: int | Sequence[int], q_len: int, kv_len: int) -> np.ndarray:
        """Evaluate the definition on a grid, which may have a start for each batch row: bool (B, H, Q, K)."""
        starts = np.array(q_start).reshape(-1, 1, 1, 1)
        shape = (max(self.mask.batch, len(starts)), self.mask.heads, q_len, kv_len)
        b, h, q, k = np.ogrid[: shape[0], : shape[1], :q_len, :kv_len]
        b = b if self.mask.batch > 1 else np.zeros_like(b)
        return np.broadcast_to(self.cell(b, h, starts + q, k), shape)

    def __repr__(self) -> str:
        return repr(self.mask)


def looked_up(cell: Cell) -> Cell:
    """Return the definition of a mask that looks queries up in arrays: before position 0 there is no entry."""
    return lambda b, h, q, k: (q >= 0) & cell(b, h, np.maximum(q, 0), k)


def _in_row(values: np.ndarray, b: np.ndarray, i: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values, (BATCH, values.shape[-1]))[b, i] if values.ndim == 2 else values[i]


@st.composite
def lengths(draw: st.DrawFn, batched: bool) -> list[int] | list[list[int]]:
    """Draw document lengths that sum to LENGTH, ragged when batched; a document may be empty."""
    rows = []
    for _ in range(BATCH if batched else 1):
        cuts = sorted(draw(st.lists(st.integers(0, LENGTH), max_size=4)))
        rows.append(np.diff([0, *cuts, LENGTH]).tolist())
    return rows if batched else rows[0]


@st.composite
def _numbers(draw: st.DrawFn, low: int, high: int, batched: bool) -> np.ndarray:
    """Draw one number for every position, (LENGTH,) or (BATCH, LENGTH)."""
    shape = (BATCH, LENGTH) if batched else (LENGTH,)
    count = int(np.prod(shape))
    return np.array(draw(st.lists(st.integers(low, high), min_size=count, max_size=count))).reshape(shape)


def _spelled(array: np.ndarray) -> st.SearchStrategy[object]:
    """Draw a form of the same numbers: a list, an array or a tensor, and bool if the numbers are flags."""
    spellings = [array, array.tolist(), array.astype(np.uint8), torch.tensor(array)]
    if array.max() <= 1:
        spellings += [array.astype(bool), array.astype(bool).tolist(), torch.tensor(array, dtype=torch.bool)]
    return st.sampled_from(spellings)


def _ids_of(lengths: list) -> np.ndarray:
    rows = lengths if isinstance(lengths[0], list) else [lengths]
    ids = np.array([np.repeat(np.arange(len(row)), row) for row in rows])
    return ids if isinstance(lengths[0], list) else ids[0]


def _starts_of(lengths: list) -> np.ndarray:
    rows = lengths if isinstance(lengths[0], list) else [lengths]
    starts = np.array([np.repeat(np.cumsum(row) - row, row) for row in rows])
    return starts if isinstance(lengths[0], list) else starts[0]


@st.composite
def atoms(draw: st.DrawFn) -> Case:
    kind = draw(st.integers(0, 15))
    n = draw(st.integers(0, LENGTH + 2))
    batched = draw(st.booleans())
    if kind == 0:
        return Case(mw.full(), lambda b, h, q, k: np.array(True))
    if kind == 1:
        return Case(mw.empty(), lambda b, h, q, k: np.array(False))
    if kind in (2, 3):
        return Case(mw.causal(), lambda b, h, q, k: k <= q)
    if kind == 4:
        size = (
            np.array(draw(st.lists(st.integers(1, LENGTH + 2), min_size=HEADS, max_size=HEADS))) if batched else n + 1
        )
        size_of = (lambda h: size[h]) if batched else (lambda h: size)
        return Case(mw.sliding_window(size), lambda b, h, q, k: (q - size_of(h) < k) & (k <= q))
    if kind == 5:
        return Case(mw.sinks(n), lambda b, h, q, k: k < n)
    if kind in (6, 7):
        bound = draw(st.lists(st.integers(0, LENGTH + 1), min_size=BATCH, max_size=BATCH)) if batched else n
        array = np.array(bound)
        value = (lambda b: array[b]) if batched else (lambda b: array)
        if kind == 6:
            maker = draw(st.sampled_from([mw.prefix, mw.padding]))
            return Case(maker(bound), lambda b, h, q, k: k < value(b))
        return Case(mw.padding(starts=bound), lambda b, h, q, k: k >= value(b))
    if kind == 10:
        left, right = (draw(st.none() | st.integers(0, LENGTH)) for _ in range(2))
        return Case(
            mw.band(left, right),
            lambda b, h, q, k: (
                (q - (4 * LENGTH if left is None else left) <= k) & (k <= q + (4 * LENGTH if right is None else right))
            ),
        )
    if kind == 11:
        return Case(mw.chunked(n + 1), lambda b, h, q, k: k // (n + 1) == q // (n + 1))
    if kind == 12:
        blocks = draw(lengths(batched))
        block = _ids_of(blocks)
        return Case(mw.block_causal(blocks), looked_up(lambda b, h, q, k: _in_row(block, b, k) <= _in_row(block, b, q)))
    if kind == 13:
        marks = draw(_numbers(0, 1, batched))
        maker, mark = draw(st.sampled_from([(mw.real, 1), (mw.from_key_padding_mask, 0)]))
        return Case(maker(draw(_spelled(marks))), lambda b, h, q, k: _in_row(marks, b, k) == mark)
    if kind == 14:
        q_ids, k_ids = draw(_numbers(-1, 2, batched)), draw(_numbers(-1, 2, draw(st.booleans())))
        return Case(
            mw.match(q_ids, k_ids),
            looked_up(lambda b, h, q, k: (_in_row(q_ids, b, q) == _in_row(k_ids, b, k)) & (_in_row(q_ids, b, q) >= 0)),
        )
    if kind == 15:
        cuts = draw(lengths(False))
        ids = _ids_of(cuts)
        cu = draw(_spelled(np.cumsum([0, *cuts])))
        return Case(mw.from_cu_seqlens(cu), looked_up(lambda b, h, q, k: _in_row(ids, b, q) == _in_row(ids, b, k)))
    if kind == 8:
        ids = draw(_numbers(-1, 2, batched))
        # Ids that count up from 0 again and again are refused as position ids; other names of them are not.
        names = np.where(ids < 0, ids, ids + draw(st.integers(1, 3)))
        return Case(
            mw.document(ids=names),
            looked_up(lambda b, h, q, k: (_in_row(ids, b, q) == _in_row(ids, b, k)) & (_in_row(ids, b, q) >= 0)),
        )
    sizes = draw(lengths(batched))
    ids = _ids_of(sizes)
    return Case(mw.document(sizes), looked_up(lambda b, h, q, k: _in_row(ids, b, q) == _in_row(ids, b, k)))


@st.composite
def _within(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    sizes = draw(lengths(draw(st.booleans())))
    ids, starts = _ids_of(sizes), _starts_of(sizes)
    if isinstance(sizes[0], list) or draw(st.booleans()):
        cases = [draw(inner)]
    else:
        cases = [draw(inner) for _ in sizes]

    def cell(b: np.ndarray, h: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        same_document = _in_row(ids, b, q) == _in_row(ids, b, k)
        q0, k0 = q - _in_row(starts, b, q), k - _in_row(starts, b, k)
        out = np.zeros(np.broadcast_shapes(b.shape, h.shape, q0.shape, k0.shape), dtype=bool)
        for i, case in enumerate(cases):
            allowed = case.cell(b, h, q0, k0)
            out |= same_document & allowed & ((_in_row(ids, b, q) == i) | (len(cases) == 1))
        return out

    masks = cases[0].mask if len(cases) == 1 else [case.mask for case in cases]
    return Case(mw.within(masks, sizes), looked_up(cell))


@st.composite
def _per(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    heads = draw(st.booleans())
    two = [draw(inner), draw(inner)]
    count = HEADS if heads else BATCH
    choices = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    maker = mw.per_head if heads else mw.per_row

    def cell(b: np.ndarray, h: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        first = np.array(choices)[h if heads else b] == 0
        return np.where(first, two[0].cell(b, h, q, k), two[1].cell(b, h, q, k))

    return Case(maker([two[i].mask for i in choices]), cell)


@st.composite
def _shifted(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    case = draw(inner)

    def shifted(dq: int, dk: int) -> Case:
        def cell(b: np.ndarray, h: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
            # A shift forth leaves out what it moves in from before position 0.
            inside = ((q >= dq) | (dq <= 0)) & (k >= dk)
            return inside & case.cell(b, h, np.where(dq <= 0, q - dq, np.maximum(q - dq, 0)), np.maximum(k - dk, 0))

        return Case(case.mask.shift(q=dq, k=dk), cell)

    dq, dk = draw(st.integers(-3, 4)), draw(st.integers(-3, 4))
    back = shifted(dq, dk)
    try:
        back.mask.bind(LENGTH, LENGTH, q_start=0)
        back.dense(0, LENGTH, LENGTH)  # this checks all arrays, also those that the canonical form has dropped
    except (GridError, IndexError):  # a shift to lower positions needs longer arrays
        return shifted(abs(dq), abs(dk))
    return back


def _joined(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    return st.one_of(_joined_in_place(inner), _shifted(inner))


def _joined_in_place(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(
            lambda p: Case(p[0].mask & p[1].mask, lambda b, h, q, k: p[0].cell(b, h, q, k) & p[1].cell(b, h, q, k))
        ),
        two.map(
            lambda p: Case(p[0].mask | p[1].mask, lambda b, h, q, k: p[0].cell(b, h, q, k) | p[1].cell(b, h, q, k))
        ),
        two.map(
            lambda p: Case(p[0].mask - p[1].mask, lambda b, h, q, k: p[0].cell(b, h, q, k) & ~p[1].cell(b, h, q, k))
        ),
        two.map(
            lambda p: Case(p[0].mask ^ p[1].mask, lambda b, h, q, k: p[0].cell(b, h, q, k) ^ p[1].cell(b, h, q, k))
        ),
        inner.map(lambda c: Case(~c.mask, lambda b, h, q, k: ~c.cell(b, h, q, k))),
        _within(inner),
        _per(inner),
    )


cases = st.recursive(atoms(), _joined, max_leaves=8)


def once_shifted(kinds: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    """Draw composites of these atoms in which no shift is shifted: a sum of shifts is exact from position 0 on."""
    leaves = st.one_of(kinds, _shifted(kinds), _shifted(_joined_in_place(kinds)))
    return st.recursive(leaves, _joined_in_place, max_leaves=6)


@st.composite
def ragged_grids(draw: st.DrawFn, least_queries: int = 0) -> tuple[int | list[int], int, int]:
    """Draw (q_start, q_len, kv_len) within LENGTH: starts also before position 0, one for all or for each row."""
    q_len, kv_len = draw(st.integers(least_queries, LENGTH)), draw(st.integers(0, LENGTH))
    start = st.integers(-LENGTH, LENGTH - q_len)
    return draw(st.one_of(start, st.lists(start, min_size=BATCH, max_size=BATCH))), q_len, kv_len


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int, int]:
    """Draw (q_start, q_len, kv_len) within LENGTH, so that every array covers the grid."""
    q_start = draw(st.integers(0, LENGTH))
    return q_start, draw(st.integers(0, LENGTH - q_start)), draw(st.integers(0, LENGTH))
