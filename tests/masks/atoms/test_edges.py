"""`edges`: the pairs of a list and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from helpers.geometry import spans_of
from maskwork.errors import MaskError, TooManySpans

N = 9
PAIRS = st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)), max_size=30)


@given(st.lists(PAIRS, min_size=1, max_size=3))
def test_edges_are_their_pairs(rows):
    width = max(map(len, rows))
    table = np.full((2, len(rows), width), -1)
    expected = np.zeros((len(rows), N, N), dtype=bool)
    for b, pairs in enumerate(rows):
        for i, (q, k) in enumerate(pairs):
            table[:, b, i] = q, k
            expected[b, q, k] = True
    mask = mw.edges(*table)
    assert np.array_equal(np.broadcast_to(mask.bind(N, batch=len(rows)).dense()[:, 0], expected.shape), expected)
    # Growing or moving the grid changes no cell, and nothing stands before position 0 or beyond the list.
    moved = mask.bind(N + 6, N + 2, q_start=-3, batch=len(rows)).dense()[:, 0]
    assert np.array_equal(moved[:, 3 : 3 + N, :N], expected)
    assert moved.sum() == expected.sum()
    assert mw.parse(mask.to_text(arrays="full")) == mask
    assert mw.Mask.from_json(mask.to_json()) == mask


def test_equal_sets_of_edges_are_equal_masks():
    assert mw.edges([2, 0, 2], [1, 1, 1]) == mw.edges([0, 2], [1, 1]) == mw.edges([[-1, 2, 0]], [[-1, 1, 1]])
    assert mw.edges([], []).bind(3).allowed == 0


def test_a_graph_of_100_000_nodes():
    """Degree 8: as many slots as nodes times runs."""
    n, degree = 100_000, 8
    rng = np.random.default_rng(0)
    queries, keys = np.repeat(np.arange(n), degree), rng.integers(0, n, n * degree)
    bound = mw.edges(queries, keys).bind(n)
    assert bound.allowed == len(np.unique(queries * n + keys))
    assert bound.spans.runs <= degree
    node = bound.spans.row(777)
    assert {k for start, end in node for k in range(start, end)} == set(keys[777 * degree : 778 * degree].tolist())


def test_a_hub_of_very_many_runs_is_refused_in_words():
    n = 100_000
    hub = np.arange(0, n, 2)
    with pytest.raises(TooManySpans, match="interval slots"):
        _ = mw.edges(np.zeros_like(hub), hub).bind(n).spans


def test_a_hub_inside_a_window_has_the_edges_of_the_window():
    n = 1 << 16
    hub = np.arange(0, n, 2)
    narrow = (mw.edges(np.zeros_like(hub), hub) & mw.band(8, 8)).bind(n)
    assert narrow.spans.row(0) == [(key, key + 1) for key in range(0, 9, 2)]
    assert narrow.spans.runs == 5


@pytest.mark.parametrize("window", [mw.band(3, 2), mw.band([0, 4], [[1], [0], [6]])])
@pytest.mark.parametrize("q_start", [0, -3, [0, -2, 5]])
def test_edges_inside_a_window_are_those_of_both(window: mw.Mask, q_start: object):
    rng = np.random.default_rng(0)
    mask = mw.edges(rng.integers(0, 20, (3, 60)), rng.integers(0, 25, (3, 60)))
    both, graph, inside = (each.bind(15, 18, q_start=q_start, batch=3) for each in (mask & window, mask, window))
    expected = graph.dense() & inside.dense()
    assert np.array_equal(both.dense(), expected)
    assert both.spans == spans_of(expected)


def test_the_reason_counts_the_edges():
    mask = mw.edges([0, 0, 2], [1, 2, 0]).bind(3)
    assert mask.explain(0, 2).reason == "query 0 has 2 edges, one of them to key 2"
    assert mask.explain(1, 2).reason == "query 1 has 0 edges, none of them to key 2"


def test_pairs_out_of_range():
    with pytest.raises(MaskError, match="as many queries as keys"):
        mw.edges([0, 1], [0])
    with pytest.raises(MaskError, match="-1 for both sides"):
        mw.edges([0, -1], [0, 1])
    with pytest.raises(MaskError, match="below 2"):
        mw.edges([2**31], [0])
