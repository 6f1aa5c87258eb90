"""A bound mask shows what the design teaches, computes on first use, and lowers once."""

import pickle

import numpy as np
import pytest

import maskwork as mw
from maskwork.errors import GridError, MaskError, TooManySpans

#: What DESIGN section 3 teaches of a bound mask, and its drawing as SVG.
TAUGHT = {
    "allowed", "blocks", "cost", "count", "dense", "density", "diff", "disjoint", "empty_rows", "equals", "explain",
    "k_positions", "last_seen", "q_positions", "reach", "rows", "select", "shape", "show", "spans", "subset_of", "svg",
    "tiles",
}  # fmt: skip


def test_it_shows_what_the_design_teaches_and_no_plumbing():
    assert {name for name in dir(mw.BoundMask) if not name.startswith("_")} == TAUGHT
    bound = mw.causal().bind(4)
    assert {name for name in dir(bound) if not name.startswith("_")} == TAUGHT | {"mask", "grid"}


def test_a_lowering_is_made_once():
    lowerings = mw.causal().bind(4)._lowerings
    calls: list[int] = []
    assert not lowerings.has("a key")
    for _ in range(3):
        assert lowerings.get("a key", lambda: calls.append(1) or "a lowering") == "a lowering"
    assert lowerings.has("a key")
    assert not lowerings.has("another")
    assert calls == [1]


def test_spans_are_computed_on_first_use_and_not_pickled():
    long = mw.causal().bind(2**31 - 1)  # its spans would exceed the budget
    assert not long._has_spans
    assert not long.rows(5, 7)._has_spans
    with pytest.raises(TooManySpans):
        _ = long.spans
    bound = mw.causal().bind(8)
    assert bound.spans is bound.spans
    assert bound._has_spans
    assert bound.rows(2, 4)._has_spans, "rows of computed spans are a slice of them"
    assert not pickle.loads(pickle.dumps(bound))._has_spans
    selected = pickle.loads(pickle.dumps(bound.select(q=[3, 1])))
    assert selected._has_spans, "the cells of a selection cannot be computed again"
    assert np.array_equal(selected.dense(), bound.dense()[:, :, [3, 1]])


def test_numpy_integers_are_accepted_and_bools_refused():
    two = np.int64(2)
    bound = mw.sliding_window(two).bind(np.int64(8))
    assert bound.rows(two, np.int64(4)).grid == mw.Grid(2, 2, 8)
    assert type(bound.rows(two, np.int64(4)).grid.q_start) is int
    assert bound.blocks(two).shape == (1, 1, 4, 4)
    assert bound.reach(two).equals(bound.reach(2))
    assert str(bound.explain(two, two)) == str(bound.explain(2, 2))
    cost = bound.cost(two, two, np.int64(1), np.int64(4), block_size=two)
    assert all(
        type(number) is int for number in (cost.flops, cost.bytes_moved, cost.cache_bytes, cost.cache_bytes_kept)
    )
    for wrong in (True, 2.0, np.True_):
        for call in (
            lambda x: bound.rows(0, x), bound.blocks, bound.reach, lambda x: bound.explain(x, 0),
            lambda x: bound.cost(x, 1, 1, 1), lambda x: bound.svg(b=x), lambda x: bound.diff(mw.causal(), first=x),
        ):  # fmt: skip
            with pytest.raises(MaskError, match="must be an integer, got"):
                call(wrong)


def test_a_batch_row_or_head_that_the_grid_lacks_is_named():
    bound = mw.causal().bind(4, batch=2, heads=3)
    assert bound.grid.check_plane(1, np.int64(2)) == (1, 2)
    for ask in (bound.show, bound.svg, lambda b, h: bound.explain(0, 0, b, h)):
        with pytest.raises(GridError, match="the grid has 2 batch rows and 3 heads, got batch row 2 and head 0"):
            ask(b=2, h=0)
