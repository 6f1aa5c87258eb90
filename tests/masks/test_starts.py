"""Queries before position 0, and a start for each batch row: every atom and operator, beside its definition."""

import itertools
import pickle

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, Case, atoms, once_shifted, ragged_grids
from helpers.strategies_sparse import sparse_atoms

#: (q_start, q_len, kv_len)
RaggedGrid = tuple[int | list[int], int, int]

starting_cases = st.one_of(once_shifted(atoms()), once_shifted(st.one_of(sparse_atoms, atoms())))


def bind(case: Case, grid: RaggedGrid) -> mw.BoundMask:
    q_start, q_len, kv_len = grid
    return case.mask.bind(q_len, kv_len, q_start=q_start)


def same_cells(bound: mw.BoundMask, dense: np.ndarray) -> bool:
    """Whether both have the same cells; either may leave out batch rows that do not differ."""
    cells = bound.dense()
    return np.array_equal(*np.broadcast_arrays(cells, dense))


@settings(max_examples=400)
@given(starting_cases, ragged_grids())
def test_a_mask_is_its_definition_wherever_its_queries_start(case: Case, grid: RaggedGrid):
    bound = bind(case, grid)
    dense = case.dense(*grid)
    assert same_cells(bound, dense)
    assert bound.allowed == bound.dense().sum()
    assert np.array_equal(bound.empty_rows(), ~bound.dense().any(-1))


@settings(max_examples=150)
@given(starting_cases, ragged_grids(), st.data())
def test_the_questions_take_absolute_positions_wherever_queries_start(
    case: Case, grid: RaggedGrid, data: st.DataObject
):
    q_start, q_len, kv_len = grid
    bound = bind(case, grid)
    batch = bound.grid.batch
    starts = np.broadcast_to(np.array(q_start), (batch,))
    dense = np.broadcast_to(bound.dense(), (batch, *bound.dense().shape[1:]))
    q = starts[:, None] + np.arange(q_len)
    assert np.array_equal(np.broadcast_to(bound.q_positions, q.shape), q)
    assert bound.k_positions.tolist() == [list(range(kv_len))]
    # rectangles: rows of each batch row by position
    low, high = int(starts.min()), int(starts.max()) + q_len
    q_edges = sorted(data.draw(st.lists(st.integers(low, high), min_size=2, max_size=4)))
    k_edges = sorted(data.draw(st.lists(st.integers(0, kv_len), min_size=2, max_size=4)))
    tiles = bound.tiles(q_edges, k_edges)
    for i, (q0, q1) in enumerate(itertools.pairwise(q_edges)):
        for j, (k0, k1) in enumerate(itertools.pairwise(k_edges)):
            inside = ((q >= q0) & (q < q1))[:, None, :, None] & dense
            expected = inside[..., k0:k1].sum((-1, -2))
            assert np.array_equal(np.broadcast_to(tiles[..., i, j], expected.shape), expected)
            assert np.array_equal(bound.count(q0, q1, k0, k1), tiles[..., i, j])
    # the last query that sees a key
    nothing = min(-1, low - 1)
    last = np.where(dense, q[:, None, :, None], nothing).max(2, initial=nothing)
    assert np.array_equal(np.broadcast_to(bound.last_seen(), last.shape), last)
    if q_len and kv_len:
        b, h = data.draw(st.integers(0, batch - 1)), data.draw(st.integers(0, dense.shape[1] - 1))
        i, k = data.draw(st.integers(0, q_len - 1)), data.draw(st.integers(0, kv_len - 1))
        assert bound.explain(int(q[b, i]), k, b, h).allowed == dense[b, h, i, k]
        # rows of each batch row's own
        first = starts + [data.draw(st.integers(0, i)) for _ in range(batch)]
        count = q_len - i
        part = bound.rows(first.tolist(), (first + count).tolist())
        rows = np.stack([dense[b, :, first[b] - starts[b] :][:, :count] for b in range(batch)])
        assert same_cells(part, rows)
        assert np.array_equal(np.broadcast_to(part.q_positions, (batch, count)), first[:, None] + np.arange(count))
        assert part.equals(bind(case, (first.tolist(), count, kv_len)))
    pickled = bound if case.mask.calls_function else pickle.loads(pickle.dumps(bound))
    for again in (pickled, case.mask.bind(q_len, kv_len, q_start=torch.tensor(q_start))):
        assert again.grid == bound.grid
        assert again.equals(bound)
    assert "BoundMask(" in repr(bound)
    assert "<svg" in bound.svg(b=batch - 1)
    bound.show(width=40, b=batch - 1)


@settings(max_examples=150)
@given(starting_cases, starting_cases, ragged_grids())
def test_two_masks_are_compared_wherever_queries_start(one: Case, other: Case, grid: RaggedGrid):
    q_start, _, _ = grid
    left, right = bind(one, grid), bind(other, grid)
    a, b = np.broadcast_arrays(left.dense(), right.dense())
    diff = left.diff(other.mask, first=2)
    assert (diff.both, diff.only_left, diff.only_right) == ((a & b).sum(), (a & ~b).sum(), (~a & b).sum())
    starts = np.broadcast_to(np.array(q_start), (BATCH,))
    for cells, outside in ((diff.first_left, a & ~b), (diff.first_right, ~a & b)):
        expected = [(x, h, q + starts[x], k) for x, h, q, k in np.argwhere(outside)[:2]]
        assert list(cells) == expected
    for verdict, breaks in (
        (left.subset_of(right), a & ~b),
        (left.equals(other.mask), a ^ b),
        (left.disjoint(right), a & b),
    ):
        assert bool(verdict) == (not breaks.any())
        if verdict.counterexample:
            x, h, q, k = verdict.counterexample
            assert breaks[x, h, q - starts[x], k]


@settings(max_examples=200)
@given(starting_cases, ragged_grids(least_queries=1), st.data())
def test_a_selection_of_each_batch_row_is_the_dense_mask_indexed(case: Case, grid: RaggedGrid, data: st.DataObject):
    q_start, q_len, kv_len = grid
    bound = bind(case, grid)
    batch = bound.grid.batch
    starts = np.broadcast_to(np.array(q_start), (batch,))
    dense = np.broadcast_to(bound.dense(), (batch, *bound.dense().shape[1:]))
    if data.draw(st.booleans()):
        bound = bind(case, grid)  # whose spans are not known yet

    def draw(low: int, size: int, most: int) -> np.ndarray:
        rows = [data.draw(st.lists(st.integers(low, size - 1), min_size=most, max_size=most)) for _ in range(batch)]
        return np.array(rows, dtype=np.int64).reshape(batch, most)

    i, k = draw(0, q_len, 3), draw(-1, kv_len, 5)
    picked = bound.select(q=starts[:, None] + i, k=k)
    # one key more than the grid has: the cell of an empty slot
    cells = np.concatenate([dense, np.zeros_like(dense, shape=(*dense.shape[:3], 1))], -1)
    expected = [cells[b][:, i[b]][:, :, k[b]] for b in range(batch)]
    assert same_cells(picked, np.stack(expected))
    assert np.array_equal(np.broadcast_to(picked.q_positions, i.shape), starts[:, None] + i)
    assert np.array_equal(np.broadcast_to(picked.k_positions, k.shape), k)
    # a selection of the selection keeps the positions of the first
    again = picked.select(q=np.arange(i.shape[1])[::-1], k=[-1, 4, 0])
    assert np.array_equal(np.broadcast_to(again.q_positions, i.shape), (starts[:, None] + i)[:, ::-1])
    assert np.array_equal(
        np.broadcast_to(again.k_positions, (batch, 3)), np.stack([-np.ones(batch), k[:, 4], k[:, 0]], 1)
    )
    assert same_cells(
        again, np.concatenate([0 * picked.dense()[..., :1], picked.dense()[:, :, :, [4, 0]]], -1)[:, :, ::-1]
    )
    same = pickle.loads(pickle.dumps(picked))
    assert np.array_equal(same.q_positions, picked.q_positions)
    assert np.array_equal(same.dense(), picked.dense())
