"""Blocks against every cell of every block, and against torch's own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.geometry import GridOf, bind, dense_blocks
from helpers.strategies import LENGTH, Case, cases, grids


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


def test_full_blocks_of_a_long_causal_mask_stay_runs():
    blocks = mw.causal().bind(1 << 17).blocks(128)
    assert blocks.n_full == 1024 * 1023 // 2
    assert len(blocks.full.starts) == 1023
    assert len(blocks.full.transpose().starts) == 1023
