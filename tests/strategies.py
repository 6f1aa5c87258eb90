"""Random masks, each beside its definition written the obvious way: a function of (b, q, k) as dense arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import maskwork as mw

#: (b, q, k) index arrays -> bool array
Cell = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

LENGTH = 12
BATCH = 3


@dataclass(frozen=True)
class Case:
    mask: mw.Mask
    cell: Cell

    def dense(self, q_start: int, q_len: int, kv_len: int) -> np.ndarray:
        b, q, k = np.ogrid[: self.mask.batch, q_start : q_start + q_len, :kv_len]
        shape = (self.mask.batch, q_len, kv_len)
        return np.broadcast_to(self.cell(b, q, k), shape)[:, None]

    def __repr__(self) -> str:
        return repr(self.mask)


def _in_row(values: np.ndarray, b: np.ndarray, i: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values, (BATCH, values.shape[-1]))[b, i] if values.ndim == 2 else values[i]


@st.composite
def lengths(draw: st.DrawFn, batched: bool) -> list[int] | list[list[int]]:
    """Document lengths that sum to LENGTH, ragged when batched; empty documents happen."""
    rows = []
    for _ in range(BATCH if batched else 1):
        cuts = sorted(draw(st.lists(st.integers(0, LENGTH), max_size=4)))
        rows.append(np.diff([0, *cuts, LENGTH]).tolist())
    return rows if batched else rows[0]


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
    kind = draw(st.integers(0, 9))
    n = draw(st.integers(0, LENGTH + 2))
    batched = draw(st.booleans())
    if kind == 0:
        return Case(mw.full(), lambda b, q, k: np.array(True))
    if kind == 1:
        return Case(mw.empty(), lambda b, q, k: np.array(False))
    if kind in (2, 3):
        return Case(mw.causal(), lambda b, q, k: k <= q)
    if kind == 4:
        return Case(mw.sliding_window(n + 1), lambda b, q, k: (q - (n + 1) < k) & (k <= q))
    if kind == 5:
        return Case(mw.sinks(n), lambda b, q, k: k < n)
    if kind in (6, 7):
        bound = draw(st.lists(st.integers(0, LENGTH + 1), min_size=BATCH, max_size=BATCH)) if batched else n
        array = np.array(bound)
        value = (lambda b: array[b]) if batched else (lambda b: array)
        if kind == 6:
            maker = draw(st.sampled_from([mw.prefix, mw.padding]))
            return Case(maker(bound), lambda b, q, k: k < value(b))
        return Case(mw.padding(starts=bound), lambda b, q, k: k >= value(b))
    if kind == 8:
        size = (BATCH, LENGTH) if batched else (LENGTH,)
        flat = draw(st.lists(st.integers(-1, 2), min_size=int(np.prod(size)), max_size=int(np.prod(size))))
        ids = np.array(flat).reshape(size)
        return Case(
            mw.document(ids=ids),
            lambda b, q, k: (_in_row(ids, b, q) == _in_row(ids, b, k)) & (_in_row(ids, b, q) >= 0),
        )
    sizes = draw(lengths(batched))
    ids = _ids_of(sizes)
    return Case(mw.document(sizes), lambda b, q, k: _in_row(ids, b, q) == _in_row(ids, b, k))


@st.composite
def _within(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    sizes = draw(lengths(draw(st.booleans())))
    ids, starts = _ids_of(sizes), _starts_of(sizes)
    if isinstance(sizes[0], list) or draw(st.booleans()):
        cases = [draw(inner)]
    else:
        cases = [draw(inner) for _ in sizes]

    def cell(b: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        same = _in_row(ids, b, q) == _in_row(ids, b, k)
        q0, k0 = q - _in_row(starts, b, q), k - _in_row(starts, b, k)
        out = np.zeros(np.broadcast_shapes(same.shape, q0.shape, k0.shape, (BATCH, 1, 1)), dtype=bool)
        for i, case in enumerate(cases):
            here = case.cell(b, q0, k0)
            out |= same & here & ((_in_row(ids, b, q) == i) | (len(cases) == 1))
        return out

    mask = mw.within(cases[0].mask if len(cases) == 1 else [case.mask for case in cases], sizes)
    # the oracle above always speaks of BATCH rows; a mask that does not is the same in each
    return Case(
        mask,
        lambda b, q, k: cell(np.arange(BATCH).reshape(-1, 1, 1), q, k)[np.broadcast_to(b, (b.size, 1, 1))[:, 0, 0]],
    )


def _joined(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda p: Case(p[0].mask & p[1].mask, lambda b, q, k: p[0].cell(b, q, k) & p[1].cell(b, q, k))),
        two.map(lambda p: Case(p[0].mask | p[1].mask, lambda b, q, k: p[0].cell(b, q, k) | p[1].cell(b, q, k))),
        two.map(lambda p: Case(p[0].mask - p[1].mask, lambda b, q, k: p[0].cell(b, q, k) & ~p[1].cell(b, q, k))),
        inner.map(lambda c: Case(~c.mask, lambda b, q, k: ~c.cell(b, q, k))),
        _within(inner),
    )


cases = st.recursive(atoms(), _joined, max_leaves=8)


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int, int]:
    """(q_start, q_len, kv_len), within LENGTH so that every array covers it."""
    q_start = draw(st.integers(0, LENGTH))
    return q_start, draw(st.integers(0, LENGTH - q_start)), draw(st.integers(0, LENGTH))
