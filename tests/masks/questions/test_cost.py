"""Costs against counts of the dense mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.geometry import GridOf, dense_blocks
from helpers.strategies import Case, cases, grids
from maskwork.errors import MaskError


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
