"""Geometries of random runs against the dense definition, whatever chunks they are computed in."""

import numpy as np
import pytest
from hypothesis import given

import maskwork as mw
from helpers.geometry import GridOf, bind, dense_blocks, scattered, spans_of
from helpers.strategies import Case, cases, grids
from maskwork import spans as sp
from maskwork.errors import GridError


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


@given(cases, grids())
def test_a_plane_is_one_batch_row_and_head(case: Case, grid: GridOf):
    spans = bind(case, grid).spans
    dense = spans.dense()
    batch, heads, _ = spans.shape
    for b in range(batch):
        for h in range(heads):
            plane = spans.plane(b, h)
            assert plane.shape == (1, 1, spans.shape[2])
            assert np.array_equal(plane.dense()[0, 0], dense[b, h])
            assert plane == spans_of(dense[b : b + 1, h : h + 1]), "a plane is canonical"


def test_where_nothing_differs_one_plane_stands_for_all():
    causal = mw.causal().bind(4, batch=2, heads=3).spans
    assert causal.plane(1, 2) == causal.plane() == causal
    windows = mw.sliding_window([1, 2]).bind(4, batch=2).spans
    assert windows.plane(b=1, h=1).row(3) == [(2, 4)]
    for b, h in ((0, 2), (0, -1)):
        with pytest.raises(GridError, match=f"spans hold 1 batch rows and 2 heads, got batch row {b} and head {h}"):
            windows.plane(b, h)
