"""Queries before position 0, and a start for each batch row: every atom and operator, beside its definition."""

import itertools
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, Case, atoms, once_shifted, ragged_grids
from helpers.strategies_sparse import sparse_atoms
from maskwork.errors import GridError, MaskError

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


@settings(max_examples=80)
@given(st.one_of(atoms(), once_shifted(atoms())), ragged_grids(), st.integers(0, 3))
def test_reach_cost_and_drawings_are_those_of_each_batch_row(case: Case, grid: RaggedGrid, layers: int):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start, batch=BATCH)
    starts = np.broadcast_to(np.array(q_start), (BATCH,)).tolist()
    # Arrays cover all positions in between, as far as a layer may lead.
    alone = [case.mask.bind(q_len, kv_len, q_start=start, batch=BATCH) for start in starts]
    reached = bound.reach(layers)
    for b, row in enumerate(alone):
        expected = row.reach(layers).dense()
        cells = reached.dense()
        assert np.array_equal(cells[min(b, len(cells) - 1)], expected[min(b, len(expected) - 1)])
        assert re.findall(r' d="[^"]*"', bound.svg(b=b)) == re.findall(r' d="[^"]*"', row.svg(b=b))
    costs = [row.cost(2, 4, 2, 8, block_size=4) for row in alone]
    total = bound.cost(2, 4, 2, 8, block_size=4)
    if case.mask.batch == 1:
        for name in ("flops", "block_flops", "cache_bytes", "cache_bytes_kept"):
            assert getattr(total, name) * BATCH == sum(getattr(cost, name) for cost in costs), name


def test_what_a_start_may_be():
    bound = mw.causal().bind(2, 4, q_start=[0, 2])
    assert bound.grid.q_start == (0, 2)
    assert bound.grid.batch == 2
    assert repr(bound) == "BoundMask(causal, queries [0, 2), [2, 4) by batch row, keys [0, 4))"
    for same in ((0, 2), np.array([0, 2]), torch.tensor([0, 2]), torch.tensor([0, 2], dtype=torch.int32)):
        assert mw.causal().bind(2, 4, q_start=same).grid == bound.grid
    assert mw.causal().bind(2, q_start=[1, 4]).grid.kv_len == 6
    # one start for all rows is written as one
    for one in ([3, 3], torch.tensor([3, 3]), torch.tensor(3), np.int32(3)):
        grid = mw.causal().bind(1, 4, q_start=one, batch=2).grid
        assert grid == mw.Grid(3, 1, 4, 2)
        assert type(grid.q_start) is int
    with pytest.raises(GridError, match="one for each of the 3 batch rows, got 2; pass as many as batch rows"):
        (mw.causal() & mw.padding([1, 2, 3])).bind(2, 4, q_start=[0, 1])
    with pytest.raises(GridError, match="one for each of the 1 batch rows, got 2"):
        mw.causal().bind(2, 4, q_start=[0, 1], batch=1)
    with pytest.raises(GridError, match="one for each batch row, got none"):
        mw.causal().bind(2, 4, q_start=[])
    for wrong in (1.5, [0.5, 1], [[0, 1]], [True, False], "0"):
        with pytest.raises(MaskError, match="q_start must"):
            mw.causal().bind(2, 4, q_start=wrong)
    with pytest.raises(GridError, match=r"pass q_start=0 .* or q_start=-3 \(kv_len - q_len\)"):
        mw.causal().bind(5, 2)
    for far in (-(2**31) - 1, [0, -(2**31) - 1], 2**31 - 1, [0, 2**31 - 1]):
        with pytest.raises(GridError, match=r"positions must be below 2\*\*31 in size, got queries"):
            mw.causal().bind(2, 4, q_start=far)


def test_a_grid_knows_whether_its_start_was_given():
    assert mw.causal().bind(4).grid.start_given
    assert mw.full().bind(4).grid.start_given, "queries and keys are the same positions"
    blind = mw.full().bind(2, 4)
    assert not blind.grid.start_given
    assert not blind.rows(0, 1).grid.start_given
    assert not blind.select(k=[3, 1]).grid.start_given
    assert mw.full().bind(2, 4, q_start=0).select(k=[3, 1]).grid.start_given


def test_rows_and_drawings_of_queries_before_position_0(capsys: pytest.CaptureFixture[str]):
    bound = mw.causal().bind(5, 2, q_start=-3)
    assert bound.dense().astype(int)[0, 0].tolist() == [[0, 0], [0, 0], [0, 0], [1, 0], [1, 1]]
    assert bound.rows(-1, 1).dense().astype(int)[0, 0].tolist() == [[0, 0], [1, 0]]
    assert bound.count(-3, 0, 0, 2).tolist() == [[0]]
    assert str(bound.explain(-3, 0)) == (
        "blocked: query -3, key 0\n✗ causal: query -3 is before position 0 and sees no key"
    )
    bound.show()
    assert "-3 ····" in capsys.readouterr().out
    assert ">-3<" in bound.svg()
    ragged = mw.causal().bind(2, 4, q_start=[0, 2])
    ragged.show(b=1)
    assert "\n3 ████████" in capsys.readouterr().out
    with pytest.raises(GridError, match=r"rows must lie in \[0, 2\), \[2, 4\) by batch row"):
        ragged.rows(0, 1)
    with pytest.raises(GridError, match="each batch row has as many rows"):
        ragged.rows([0, 2], [1, 4])
    with pytest.raises(GridError, match=r"a cell of the grid, queries \[2, 4\)"):
        ragged.explain(0, 0, b=1)
    with pytest.raises(GridError, match="compared on one grid"):
        ragged.equals(mw.causal().bind(2, 4, q_start=0))


def test_reach_of_a_selection_is_refused():
    with pytest.raises(GridError, match="take the reach first, then select"):
        mw.causal().bind(4).select(q=[3, 1], k=[0, 1]).reach(2)
