"""Every mask against its definition written the obvious way, and the algebra's laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import LENGTH, Case, cases, grids


@settings(max_examples=400)
@given(cases, grids())
def test_spans_are_the_definition(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    expected = case.dense(*grid)
    dense = bound.dense()
    assert dense.shape == bound.shape
    assert np.array_equal(np.broadcast_to(dense, expected.shape), expected)
    assert bound.allowed == dense.sum()
    assert np.array_equal(bound.empty_rows(), ~dense.any(-1))
    assert np.array_equal(bound.last_seen() < 0, ~dense.any(-2))


@settings(max_examples=200)
@given(cases, grids())
def test_spans_are_canonical(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    spans = case.mask.bind(q_len, kv_len, q_start=q_start).spans
    starts, ends = spans.starts, spans.ends
    used = starts < ends
    assert ((starts == kv_len) & (ends == kv_len))[~used].all(), "unused slots are [kv_len, kv_len)"
    assert not (used[..., 1:] & ~used[..., :-1]).any(), "used slots come first"
    assert (starts[..., 1:] > ends[..., :-1])[used[..., 1:]].all(), "runs are sorted, disjoint and merged"
    assert spans.runs == max(int(used.sum(-1).max(initial=0)), 1), "no slot is held that no row uses"


@settings(max_examples=150)
@given(cases, grids(), st.data())
def test_counts_are_exact(case: Case, grid: tuple[int, int, int], data: st.DataObject):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    dense = bound.dense()
    q_edges = sorted(data.draw(st.lists(st.integers(q_start, q_start + q_len), min_size=2, max_size=5)))
    k_edges = sorted(data.draw(st.lists(st.integers(0, kv_len), min_size=2, max_size=5)))
    tiles = bound.tiles(q_edges, k_edges)
    for i in range(len(q_edges) - 1):
        for j in range(len(k_edges) - 1):
            part = dense[..., q_edges[i] - q_start : q_edges[i + 1] - q_start, k_edges[j] : k_edges[j + 1]]
            assert np.array_equal(tiles[..., i, j], part.sum((-1, -2)))


@settings(max_examples=100)
@given(cases, grids(), st.data())
def test_rows_are_those_queries_alone(case: Case, grid: tuple[int, int, int], data: st.DataObject):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    q0, q1 = sorted(data.draw(st.tuples(*[st.integers(q_start, q_start + q_len)] * 2)))
    part = bound.rows(q0, q1)
    assert np.array_equal(part.dense(), bound.dense()[..., q0 - q_start : q1 - q_start, :])


@settings(max_examples=150)
@given(cases, cases, grids())
def test_proofs_are_true_and_counterexamples_real(a: Case, b: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    left, right = (c.mask.bind(q_len, kv_len, q_start=q_start) for c in (a, b))
    x, y = np.broadcast_arrays(left.dense(), right.dense())
    for verdict, wrong in (
        (left.subset_of(right), x & ~y),
        (left.equals(right), x ^ y),
        (left.disjoint(right), x & y),
    ):
        assert bool(verdict) == (not wrong.any())
        if verdict.counterexample is not None:
            bb, h, q, k = verdict.counterexample
            assert wrong[bb, h, q - q_start, k]


@settings(max_examples=150)
@given(cases, cases, cases)
def test_canonical_form(a: Case, b: Case, c: Case):
    x, y, z = a.mask, b.mask, c.mask
    for left, right in (
        (x & y, y & x),
        (x | y, y | x),
        (x & (y & z), (x & y) & z),
        (x | (y | z), (x | y) | z),
        (x & x, x),
        (x | x, x),
        (~~x, x),
        (x & mw.full(), x),
        (x | mw.empty(), x),
        (x & mw.empty(), mw.empty()),
        (x | mw.full(), mw.full()),
        (x - y, x & ~y),
        (x ^ y, y ^ x),
        (x ^ (y ^ z), (x ^ y) ^ z),
        (x ^ x, mw.empty()),
        (x ^ mw.empty(), x),
        (x ^ mw.full(), ~x),
        (~x ^ y, ~(x ^ y)),
        (x ^ ~x, mw.full()),
        (x.shift(), x),
        (x.shift(q=1, k=2).shift(q=2, k=1), x.shift(q=3, k=3)),
        (x.shift(q=2).shift(q=-1), x.shift(q=1)),
        (x.shift(q=-2).shift(k=3), x.shift(q=-2, k=3)),
    ):
        assert left == right
        assert hash(left) == hash(right)


@given(cases)
def test_growing_the_grid_changes_no_cell(case: Case):
    small = case.mask.bind(5, 6, q_start=2).dense()
    large = case.mask.bind(LENGTH - 2, LENGTH, q_start=2).dense()
    assert np.array_equal(small, large[..., :5, :6])


def test_long_rows_are_cut_into_chunks_and_joined():
    n = 100_000  # more than three chunks of the algebra
    mask = mw.causal() & (mw.sliding_window(64) | mw.sinks(4))
    bound = mask.bind(n)
    expected = sum(min(q + 1, 64 + min(4, max(q + 1 - 64, 0))) for q in range(n))
    assert bound.allowed == expected
    assert bound.subset_of(mw.causal())


@pytest.mark.parametrize("left", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("right", [1, 2, 4, 7])
def test_merge_network_sorts(left: int, right: int):
    from maskwork.spans._algebra import _merge

    rng = np.random.default_rng(left * 10 + right)
    a, b = (np.sort(rng.integers(0, 20, (n, 50)), axis=0).astype(np.int32) for n in (left, right))
    merged = np.stack(_merge(list(a), list(b)))
    assert np.array_equal(merged, np.sort(np.concatenate([a, b]), axis=0))
