"""A path through layers: there is one exactly where the reach says so, and it is among the shortest."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.masks._questions.path import path

MASKS = (
    "sliding_window(3)", "causal & (sliding_window(2) | sinks(1))", "dilated(1, 3)", "random_blocks(2, 2, 6, 3)",
    "band(0, 2)", "full", "empty", "per_head([sliding_window(2), sinks(1)])",
)  # fmt: skip


def walked(bound: mw.BoundMask, q: int, k: int, layers: int) -> list[int] | None:
    """The path, which is there where the reach says so, and goes from seen position to seen position."""
    sees = bound.reach(1).dense()[0, 0]
    found = path(bound.reach(1).spans, q, k, layers)
    assert (found is not None) == bound.reach(layers).dense()[0, 0, q, k]
    if found is not None:
        assert (found[0], found[-1]) == (q, k)
        assert all(sees[here, there] for here, there in pairwise(found))
    return found


@given(st.sampled_from(MASKS), st.integers(0, 11), st.integers(0, 11), st.integers(1, 6))
def test_a_path_is_the_reach_step_by_step(text: str, q: int, k: int, layers: int) -> None:
    bound = mw.parse(text).bind(12)
    found = walked(bound, q, k, layers)
    if found is not None:
        assert len(found) - 1 <= layers
        fewer = len(found) - 2
        assert fewer < 0 or not bound.reach(fewer).dense()[0, 0, q, k]


@given(st.sampled_from(MASKS), st.integers(0, 15), st.integers(0, 11), st.integers(1, 6))
def test_queries_beyond_the_keys_have_paths_too(text: str, q: int, k: int, layers: int) -> None:
    bound = mw.parse(text.replace("2, 2, 6", "2, 2, 8")).bind(16, 12, q_start=0)
    walked(bound, q, k, layers)


def test_rows_of_the_batch_have_their_own_paths() -> None:
    once = mw.parse("per_row([causal, sliding_window(2)])").bind(4).reach(1)
    assert path(once.spans, 3, 0, 3, batch=0) == [3, 0]
    assert path(once.spans, 3, 0, 3, batch=1) == [3, 2, 1, 0]


def test_positions_outside_are_refused() -> None:
    with pytest.raises(mw.errors.ArgumentError, match=r"in \[0, 4\) to a key in \[0, 4\), got query 4 and key 0"):
        path(mw.causal().bind(4).reach(1).spans, 4, 0, 1)
