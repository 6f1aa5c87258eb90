"""Spans built from runs, lists and dense rows: each against the cells that it was told."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskwork import spans as sp

KEYS = 9
points = st.integers(-3, KEYS + 3)
cells = st.lists(st.lists(st.booleans(), min_size=KEYS, max_size=KEYS), min_size=1, max_size=6)


@given(st.lists(st.tuples(points, points), min_size=5, max_size=5), st.integers(1, 5))
def test_any_runs_are_joined(runs: list[tuple[int, int]], rows: int):
    # row i holds runs i, i + 1, … in a circle, so that rows differ in order
    order = (np.arange(5)[:, None] + np.arange(rows)) % 5
    starts, ends = (np.array(side)[order][:, None, None] for side in zip(*runs, strict=True))
    spans = sp.gather_runs(starts, ends, KEYS)
    keys = np.arange(KEYS)
    expected = np.any([(keys >= s) & (keys < e) for s, e in runs], axis=0)
    assert np.array_equal(spans.dense()[0, 0], np.broadcast_to(expected, (rows, KEYS)))
    assert spans == sp.union(spans, spans), "canonical, as the algebra makes them"


@given(cells, st.integers(1, 4))
def test_dense_rows_are_read(rows: list[list[bool]], step: int):
    dense = np.array(rows)
    pieces = (dense[i : i + step] for i in range(0, len(dense), step))
    spans = sp.scan_rows(pieces, (1, 1, len(dense)), KEYS)
    assert np.array_equal(spans.dense()[0, 0], dense)
    assert spans == sp.union(spans, spans)


@given(cells, st.data())
def test_rows_are_taken_in_any_order(rows: list[list[bool]], data: st.DataObject):
    dense = np.array(rows)
    spans = sp.scan_rows([dense], (1, 1, len(dense)), KEYS)
    wanted = np.array(data.draw(st.lists(st.integers(0, len(dense) - 1), max_size=8)), dtype=np.int64)
    taken = sp.take_rows(spans, wanted[None, None])
    assert np.array_equal(np.broadcast_to(taken.dense()[0, 0], (len(wanted), KEYS)), dense[wanted])
    assert taken.runs == sp.union(taken, taken).runs


@given(st.lists(st.integers(0, 40), max_size=12))
def test_distinct_values_are_found_again(values: list[int]):
    array = np.array(values, dtype=np.int64)
    names, index = sp.distinct(array)
    assert np.array_equal(names[index], array)
    assert (np.diff(names) > 0).all()
