"""Blocks, last_seen, select, reach and cost against the dense definition written the obvious way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import LENGTH, Case, cases, grids
from maskwork import spans as sp
from maskwork.errors import GridError, MaskError, TooManySpans

GridOf = tuple[int, int, int]


def spans_of(cells: np.ndarray) -> sp.Spans:
    """bool `(B, H, Q, K)` as runs."""
    *rows, kv_len = cells.shape
    return sp.scan_rows([cells.reshape(np.prod(rows), kv_len)], tuple(rows), kv_len)


def bind(case: Case, grid: GridOf) -> mw.BoundMask:
    q_start, q_len, kv_len = grid
    return case.mask.bind(q_len, kv_len, q_start=q_start)


def dense_blocks(dense: np.ndarray, q_size: int, kv_size: int, short_is_full: bool) -> np.ndarray:
    """0 empty, 1 partial, 2 full, by looking at every cell of every block."""
    batch, heads, q_len, kv_len = dense.shape
    out = np.zeros((batch, heads, -(-q_len // q_size), -(-kv_len // kv_size)), dtype=np.int8)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            block = dense[..., i * q_size : (i + 1) * q_size, j * kv_size : (j + 1) * kv_size]
            whole = short_is_full or block.shape[2:] == (q_size, kv_size)
            out[..., i, j] = block.any((-1, -2)).astype(np.int8) + (block.all((-1, -2)) & whole)
    return out


@settings(max_examples=300)
@given(cases, grids(), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_blocks_are_exact(case: Case, grid: GridOf, q_size: int, kv_size: int, short_is_full: bool):
    bound = bind(case, grid)
    blocks = bound.blocks((q_size, kv_size), short_is_full=short_is_full)
    expected = dense_blocks(bound.dense(), q_size, kv_size, short_is_full)
    assert blocks.shape == expected.shape
    assert np.array_equal(blocks.dense(), expected)
    for runs, wanted in ((blocks.full, expected == 2), (blocks.partial, expected == 1), (blocks.touched, expected > 0)):
        wanted = wanted.reshape(runs.shape)
        assert np.array_equal(runs.dense(), wanted)
        assert runs.count == wanted.sum()
        assert np.array_equal(runs.counts(), wanted.sum(-1))
        indptr, indices = runs.csr()
        assert np.array_equal(indices, np.nonzero(wanted)[2])
        assert np.array_equal(np.diff(indptr), wanted.sum(-1).ravel())
        across = runs.transpose()
        assert np.array_equal(across.dense(), wanted.swapaxes(1, 2))
        for one in (runs, across):
            row = np.repeat(np.arange(len(one.indptr) - 1), np.diff(one.indptr))
            assert (one.starts < one.ends).all()
            assert (one.starts[1:] > one.ends[:-1])[row[1:] == row[:-1]].all(), "runs are sorted and merged"
    assert (blocks.n_full, blocks.n_partial) == ((expected == 2).sum(), (expected == 1).sum())
    assert blocks.n_empty == (expected == 0).sum()
    heights = np.minimum(q_size, grid[1] - np.arange(expected.shape[2]) * q_size)
    widths = np.minimum(kv_size, grid[2] - np.arange(expected.shape[3]) * kv_size)
    assert blocks.cells == ((expected > 0) * heights[:, None] * widths).sum()


@settings(max_examples=40)
@given(cases, st.integers(1, LENGTH), st.integers(1, 5), st.integers(1, 5))
def test_blocks_are_those_of_torch(case: Case, n: int, q_size: int, kv_size: int):
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    bound = case.mask.bind(n, n, q_start=0)
    cells = torch.tensor(bound.dense())
    batch, heads = cells.shape[:2]
    theirs = create_block_mask(
        lambda b, h, q, k: cells[b, h, q, k], batch, heads, n, n, device="cpu", BLOCK_SIZE=(q_size, kv_size)
    )
    ours = bound.blocks((q_size, kv_size), short_is_full=False)
    pairs = (
        (ours.partial, theirs.kv_num_blocks, theirs.kv_indices),
        (ours.full, theirs.full_kv_num_blocks, theirs.full_kv_indices),
        (ours.partial.transpose(), theirs.q_num_blocks, theirs.q_indices),
        (ours.full.transpose(), theirs.full_q_num_blocks, theirs.full_q_indices),
    )
    for runs, numbers, indices in pairs:
        assert numbers is not None
        assert indices is not None
        assert np.array_equal(runs.counts().ravel(), numbers.ravel().numpy())
        indptr, columns = runs.csr()
        for i, (number, row) in enumerate(zip(numbers.ravel(), indices.flatten(0, 2), strict=True)):
            assert columns[indptr[i] : indptr[i + 1]].tolist() == sorted(row[: int(number)].tolist())


@settings(max_examples=200)
@given(cases, grids())
def test_last_seen(case: Case, grid: GridOf):
    bound = bind(case, grid)
    dense = bound.dense()
    positions = grid[0] + np.arange(grid[1])
    expected = np.where(dense, positions[:, None], -1).max(axis=2, initial=-1)
    assert np.array_equal(bound.last_seen(), expected)


def scattered(rng: np.random.Generator, rows: int, kv_len: int, runs: int) -> sp.Spans:
    edges = np.sort(rng.integers(0, kv_len + 1, (2 * runs, 1, 1, rows)), axis=0)
    out = sp.single(edges[0], edges[1], kv_len)
    for i in range(2, 2 * runs, 2):
        out = sp.union(out, sp.single(edges[i], edges[i + 1], kv_len))
    return out


@pytest.mark.parametrize(("rows", "kv_len", "runs"), [(300, 257, 1), (257, 300, 4), (64, 1000, 9), (33_000, 50, 2)])
def test_random_runs_at_lengths_that_are_cut_into_chunks(rows: int, kv_len: int, runs: int):
    spans = scattered(np.random.default_rng(rows), rows, kv_len, runs)
    dense = spans.dense()
    assert np.array_equal(sp.last_seen(spans), np.where(dense, np.arange(rows)[:, None], -1).max(axis=2))
    assert np.array_equal(sp.classify(spans, 7, 16).dense(), dense_blocks(dense, 7, 16, True))
    q_edges, k_edges = np.array([3, 3, rows // 2, rows]), np.array([0, 5, 5, kv_len - 1])
    tiles = sp.count_tiles(spans, q_edges, k_edges)
    for i in range(3):
        for j in range(3):
            part = dense[0, 0, q_edges[i] : q_edges[i + 1], k_edges[j] : k_edges[j + 1]]
            assert tiles[0, 0, i, j] == part.sum()


@pytest.mark.parametrize("width", [20, 3, 0])
def test_last_seen_where_each_row_has_keys_of_its_own(width: int):
    """Counting what later rows hold is begun, and given up: random windows that move along the keys."""
    rng, rows, kv_len = np.random.default_rng(width), 70_000, 400
    first = np.arange(rows) * kv_len // rows - rng.integers(0, 60, rows)
    spans = sp.single(first[None, None], (first + rng.integers(1, 2 + width * 4, rows))[None, None], kv_len)
    seen = sp.last_seen(spans)[0, 0]
    starts, ends = spans.planes_starts[0, 0, 0], spans.planes_ends[0, 0, 0]
    for key in range(kv_len):
        assert seen[key] == np.flatnonzero((starts <= key) & (key < ends)).max(initial=-1)


@settings(max_examples=200)
@given(cases, grids(), st.data())
def test_select_takes_any_rows_and_keys(case: Case, grid: GridOf, data: st.DataObject):
    q_start, q_len, kv_len = grid
    bound = bind(case, grid)
    dense = bound.dense()
    if data.draw(st.booleans()):
        bound = bind(case, grid)  # whose spans are not known yet
    q = data.draw(st.none() | st.lists(st.integers(q_start, q_start + q_len - 1), max_size=8)) if q_len else None
    k = data.draw(st.none() | st.lists(st.integers(-1, kv_len - 1), max_size=9)) if kv_len else None
    picked = bound.select(q=q, k=k)
    expected = dense if q is None else dense[:, :, np.array(q, dtype=int) - q_start]
    if k is not None:
        keys = np.array(k, dtype=int)
        expected = expected[..., keys] & (keys >= 0)
    assert picked.shape == (*picked.shape[:2], *expected.shape[2:])
    assert np.array_equal(picked.dense(), np.broadcast_to(expected, (*picked.shape[:2], *expected.shape[2:])))
    again = spans_of(picked.dense())
    assert again.runs == picked.spans.runs, "a selection is canonical"
    assert np.array_equal(again.planes_starts, picked.spans.planes_starts)
    assert np.array_equal(again.planes_ends, picked.spans.planes_ends)


def test_select_of_many_scattered_keys_looks_at_cells():
    bound = (mw.causal() & (mw.sliding_window(50) | mw.sinks(3))).bind(400)
    keys = np.random.default_rng(0).permutation(400)
    assert np.array_equal(bound.select(k=keys).dense(), bound.dense()[..., keys])


def test_select_says_what_it_takes():
    bound = mw.causal().bind(4)
    with pytest.raises(GridError, match=r"select\(k\) takes positions in \[-1, 4\), got 0 to 4"):
        bound.select(k=[0, 4])
    with pytest.raises(GridError, match=r"select\(q\) takes positions in \[0, 4\)"):
        bound.select(q=[-1])
    with pytest.raises(GridError, match="known on its own grid alone"):
        bound.select(q=[1, 2]).mask.bind(3, 4, q_start=0).dense()
    with pytest.raises(TooManySpans, match="may evaluate 4294967296 cells"):
        sp.take_keys(mw.causal().bind(1 << 20).spans, np.random.default_rng(0).permutation(1 << 20))


@settings(max_examples=200)
@given(cases, grids(), st.integers(0, 4))
def test_reach_is_the_boolean_power(case: Case, grid: GridOf, layers: int):
    q_start, q_len, kv_len = grid
    bound = bind(case, grid)
    size = max(q_start + q_len, kv_len)
    # A position is a query and, where it is below kv_len, a key. Residuals keep each at itself.
    step = case.dense(0, size, kv_len).any(axis=1) | np.eye(size, kv_len, dtype=bool)
    reached = np.broadcast_to(np.eye(size, kv_len, dtype=bool), step.shape)
    for _ in range(layers):
        through = (step[:, :, :, None] & reached[:, None, :kv_len]).any(axis=2)
        reached = through | reached
    answer = bound.reach(layers).dense()
    expected = reached[:, None, q_start : q_start + q_len]
    assert np.array_equal(np.broadcast_to(answer, expected.shape), expected)


def test_reach_at_length_and_beyond_its_budget():
    bound = (mw.causal() & (mw.sliding_window(16) | mw.sinks(2))).bind(100_000)
    assert bound.reach(8).spans.row(90_000) == [(0, 2), (90_000 - 8 * 15, 90_001)]
    with pytest.raises(TooManySpans, match="reach may merge 1000 interval slots"):
        bound.reach(3, budget=1000)
    closed = mw.causal().bind(1000).reach(1000)
    assert closed.equals(mw.causal())


def test_reach_joins_heads_and_keeps_batch_rows_apart():
    dense = np.zeros((2, 3, 6, 6), dtype=bool)
    dense[0, 0, 5, 3] = dense[0, 2, 3, 1] = dense[1, 1, 5, 4] = True
    spans = spans_of(dense)
    bound = mw.BoundMask(mw.full(), mw.Grid(0, 6, 6, 2, 3), spans)
    expected = np.stack([np.eye(6, dtype=bool)] * 2)[:, None]
    for b, q, k in ((0, 5, 3), (0, 3, 1), (0, 5, 1), (1, 5, 4)):
        expected[b, 0, q, k] = True
    assert np.array_equal(bound.reach(2).dense(), expected)


@settings(max_examples=100)
@given(cases, grids(), st.integers(1, 5))
def test_cost_counts(case: Case, grid: GridOf, size: int):
    q_start, q_len, kv_len = grid
    batch = case.mask.batch if case.mask.batch > 1 else 2
    bound = case.mask.bind(q_len, kv_len, q_start=q_start, batch=batch)
    dense = np.broadcast_to(bound.dense(), (batch, 4, q_len, kv_len))
    cost = bound.cost(layers=3, heads=4, kv_heads=2, head_dim=8, dtype="float16", block_size=size)
    touched = dense_blocks(dense, size, size, True) > 0
    heights = np.minimum(size, q_len - np.arange(touched.shape[2]) * size)
    widths = np.minimum(size, kv_len - np.arange(touched.shape[3]) * size)
    assert cost.flops == dense.sum() * 4 * 8 * 3
    assert cost.block_flops == (touched * heights[:, None] * widths).sum() * 4 * 8 * 3
    assert cost.dense_flops == batch * q_len * kv_len * 4 * 8 * 4 * 3
    assert cost.bytes_moved == (2 * batch * 4 * q_len + 2 * size * touched.sum()) * 8 * 2 * 3
    assert cost.cache_bytes == batch * kv_len * 2 * 2 * 8 * 2 * 3
    kept = 0
    for row in dense.any(axis=1):
        needed = [
            sum(row[i:, k].any() and (k <= q_start + i or row[: i + 1, k].any()) for k in range(kv_len))
            for i in range(q_len)
        ]
        kept += max(needed, default=0)
    assert cost.cache_bytes_kept == kept * 2 * 2 * 8 * 2 * 3
    assert 0 <= cost.block_waste <= 1
    assert len(str(cost).splitlines()) == 4


def test_cost_says_what_it_takes():
    bound = mw.causal().bind(4)
    with pytest.raises(MaskError, match="heads must be a multiple of kv_heads, got 3 and 2"):
        bound.cost(1, 3, 2, 8)
    with pytest.raises(MaskError, match="dtype must be one of"):
        bound.cost(1, 2, 2, 8, dtype="complex64")


def test_full_blocks_of_a_long_causal_mask_stay_runs():
    blocks = mw.causal().bind(1 << 17).blocks(128)
    assert blocks.n_full == 1024 * 1023 // 2
    assert len(blocks.full.starts) == 1023
    assert len(blocks.full.transpose().starts) == 1023
