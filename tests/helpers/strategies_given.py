"""Random masks whose geometry is given as arrays, each beside its plain definition, cell by cell."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, HEADS, LENGTH, Case, atoms, lengths, looked_up


@st.composite
def _integers(draw: st.DrawFn, low: int, high: int, *shape: int) -> np.ndarray:
    """Draw an array of integers, seldom the same in a row, as a seed draws them."""
    return np.random.default_rng(draw(st.integers(0, 2**32))).integers(low, high + 1, shape)


def _spelled(array: np.ndarray) -> st.SearchStrategy[object]:
    return st.sampled_from([array, array.tolist(), array.astype(np.int32), torch.tensor(array)])


@st.composite
def from_spans(draw: st.DrawFn) -> Case:
    rows, heads = draw(st.sampled_from([(1, 1), (BATCH, 1), (1, HEADS), (BATCH, HEADS)]))
    runs = draw(st.integers(1, 4))
    starts, ends = (draw(_integers(-2, LENGTH + 2, rows, heads, LENGTH, runs)) for _ in range(2))
    sees = np.zeros((rows, heads, LENGTH, LENGTH + 3), dtype=bool)
    for b, h, q, r in np.ndindex(*starts.shape):
        sees[b, h, q, max(starts[b, h, q, r], 0) : max(ends[b, h, q, r], 0)] = True
    lead = (0 if heads == 1 else slice(None)) if rows == 1 else slice(None)
    squeezed = [side[:, 0] if heads == 1 else side for side in (starts, ends)]
    given = [side[0] if lead == 0 else side for side in squeezed]
    mask = mw.from_spans(*(draw(_spelled(side)) for side in given))
    return Case(mask, looked_up(lambda b, h, q, k: sees[np.minimum(b, rows - 1), np.minimum(h, heads - 1), q, k]))


@st.composite
def from_key_bounds(draw: st.DrawFn) -> Case:
    shape = draw(st.sampled_from([(), (BATCH,), (1, HEADS), (BATCH, HEADS)]))
    start, end = (draw(_integers(-4, LENGTH + 2, *shape, LENGTH)) for _ in range(2))
    which, allow = draw(st.sampled_from(["start", "end", "both"])), draw(st.booleans())
    given = {"start": (start, None), "end": (None, end), "both": (start, end)}[which]
    mask = mw.from_key_bounds(*(None if side is None else draw(_spelled(side)) for side in given), allow=allow)
    axes = {0: (1, 1), 1: (BATCH, 1), 2: shape}[len(shape)]
    low, high = (side.reshape(*axes, LENGTH) for side in (start, end))

    def cell(b: np.ndarray, h: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        place = np.minimum(b, axes[0] - 1), np.minimum(h, axes[1] - 1), k
        inside = np.ones(np.broadcast_shapes(b.shape, h.shape, q.shape, k.shape), dtype=bool)
        if which != "end":
            inside &= low[place] <= q
        if which != "start":
            inside &= q < high[place]
        return inside == allow

    return Case(mask, cell)


@st.composite
def rectangles(draw: st.DrawFn) -> Case:
    rows, count = draw(st.sampled_from([1, BATCH])), draw(st.integers(1, 5))
    q, k = (np.sort(draw(_integers(0, LENGTH + 2, rows, count, 2)), axis=-1) for _ in range(2))
    kinds = draw(_integers(0, 3, rows, count))
    if draw(st.booleans()):
        kinds = np.full_like(kinds, draw(st.integers(0, 3)))
    given = [side if rows > 1 else side[0] for side in (q, k, kinds)]
    mask = mw.rectangles(*(draw(_spelled(side)) for side in given))

    def cell(b: np.ndarray, h: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        b = np.minimum(b, rows - 1)
        out = np.zeros(np.broadcast_shapes(b.shape, i.shape, j.shape), dtype=bool)
        for n in range(count):
            (q0, q1), (k0, k1), kind = q[b, n].T[:, None], k[b, n].T[:, None], kinds[b, n]
            q0, q1, k0, k1 = (side.reshape(b.shape) for side in (q0, q1, k0, k1))
            inside = (q0 <= i) & (i < q1) & (k0 <= j) & (j < k1)
            inside &= (j - k1 <= i - q1) | np.isin(kind, (0, 2))  # the last query beside the last key
            inside &= (j - k0 >= i - q0) | np.isin(kind, (0, 1))  # the first query beside the first key
            out |= inside
        return out

    return Case(mask, cell)


@st.composite
def packed(draw: st.DrawFn, inner: st.SearchStrategy[Case] | None = None) -> Case:
    """Draw sequences whose queries and keys have lengths of their own, the keys contiguous, apart or on pages."""
    case = draw(atoms() if inner is None else inner)
    layout = draw(st.sampled_from(["contiguous", "apart", "pages"]))
    q_rows = draw(lengths(layout != "pages" and draw(st.booleans())))
    batched = isinstance(q_rows[0], list)
    q_rows = q_rows if batched else [q_rows]
    count = max(len(row) for row in q_rows)
    q_lengths = np.array([[*row, *[0] * (count - len(row))] for row in q_rows])
    # Cuts of the keys: the room of each sequence, the rest of which nobody sees where keys are apart.
    cuts = np.sort(draw(_integers(0, LENGTH, len(q_rows), count - 1)), axis=1)
    room = np.diff(cuts, axis=1, prepend=0, append=LENGTH)
    first = room.cumsum(axis=1) - room
    k_lengths, options = room, {}
    if layout == "apart":
        k_lengths = np.minimum(room, draw(_integers(0, LENGTH, *room.shape)))
        options["k_starts"] = first if batched else first[0]
    # holds[b][s]: the index of each key of the sequence
    holds = [
        [start + np.arange(n) for start, n in zip(*row, strict=True)] for row in zip(first, k_lengths, strict=True)
    ]
    if layout == "pages":
        size = draw(st.integers(1, 3))
        pages = LENGTH // size
        tables = [draw(st.permutations(range(pages)))[: draw(st.integers(0, pages))] for _ in range(count)]
        k_lengths = np.array([[max(len(table) * size - draw(st.integers(0, size - 1)), 0) for table in tables]])
        width = max(1, *map(len, tables))
        table = np.array([[*row, *[-1] * (width - len(row))] for row in tables])
        options |= {"pages": draw(_spelled(table)), "page_size": size}
        holds = [[table[s, i // size] * size + i % size for s, n in enumerate(k_lengths[0]) for i in [np.arange(n)]]]
    align = draw(st.sampled_from(["end", "start", "given"]))
    starts = {"end": k_lengths - q_lengths, "start": np.zeros_like(q_lengths)}.get(align)
    if starts is None:
        starts = np.minimum(draw(_integers(-3, LENGTH, *q_lengths.shape)), LENGTH - q_lengths)
        options["q_starts"] = starts if batched else starts[0]
    else:
        options["align"] = align
    given = [side if batched else side[0] for side in (q_lengths, k_lengths)]
    mask = mw.packed(case.mask, *(draw(_spelled(side)) for side in given), **options)

    def cell(b: np.ndarray, h: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        shape = np.broadcast_shapes(b.shape, h.shape, q.shape, k.shape)
        out = np.zeros(shape, dtype=bool)
        for row in range(len(q_lengths)):
            for s in range(count):
                q0 = int(q_lengths[row, :s].sum())
                mine = (q >= q0) & (q < q0 + q_lengths[row, s]) & ((b == row) | (not batched))
                position = np.full(2 * LENGTH, -1)
                position[holds[row][s]] = np.arange(len(holds[row][s]))
                local_q, local_k = np.where(mine, q - q0 + starts[row, s], 0), position[k]
                allowed = case.cell(b, h, local_q, np.maximum(local_k, 0))
                out |= mine & (local_k >= 0) & allowed
        return out

    return Case(mask, looked_up(cell))


given_atoms = st.one_of(from_spans(), from_key_bounds(), rectangles(), packed())
