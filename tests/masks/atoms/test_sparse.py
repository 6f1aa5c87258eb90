"""Sparse masks against their definitions written the obvious way, alone and inside expressions."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import LENGTH, Case, grids
from helpers.strategies_sparse import floyd, sparse_atoms, sparse_cases
from maskwork.errors import GridError, MaskError, TooManySpans
from maskwork.masks._atoms.sparse import _mix, draw_blocks


def check(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    expected = case.dense(*grid)
    dense = bound.dense()
    assert dense.shape == bound.shape
    assert np.array_equal(np.broadcast_to(dense, expected.shape), expected)
    starts, ends = bound.spans.starts, bound.spans.ends
    used = starts < ends
    assert starts.dtype == ends.dtype == np.int32
    assert ((starts == kv_len) & (ends == kv_len))[~used].all(), "unused slots are [kv_len, kv_len)"
    assert not (used[..., 1:] & ~used[..., :-1]).any(), "used slots come first"
    assert (starts[..., 1:] > ends[..., :-1])[used[..., 1:]].all(), "runs are sorted, disjoint and merged"
    assert bound.spans.runs == max(int(used.sum(-1).max(initial=0)), 1), "no slot is held that no row uses"


@settings(max_examples=400)
@given(sparse_atoms, grids())
def test_atoms_are_their_definitions(case: Case, grid: tuple[int, int, int]):
    check(case, grid)


@settings(max_examples=200)
@given(sparse_cases, grids())
def test_expressions_are_their_definitions(case: Case, grid: tuple[int, int, int]):
    check(case, grid)


@settings(max_examples=100)
@given(sparse_atoms, st.data())
def test_rows_may_be_asked_at_any_positions(case: Case, data: st.DataObject):
    batch = case.mask.batch
    queries = np.array(data.draw(st.lists(st.lists(st.integers(0, LENGTH - 1), min_size=3, max_size=3),
                                          min_size=batch, max_size=batch)))  # fmt: skip
    spans = case.mask._spans(queries[:, None], LENGTH)
    whole = np.broadcast_to(case.dense(0, LENGTH, LENGTH), (batch, case.mask.heads, LENGTH, LENGTH))
    expected = np.stack([row[:, here] for row, here in zip(whole, queries, strict=True)])
    assert np.array_equal(np.broadcast_to(spans.dense(), expected.shape), expected)


@settings(max_examples=100)
@given(sparse_atoms)
def test_text_round_trip(case: Case):
    if not any(word in repr(case.mask) for word in ("<int64", "<bool", "custom")):
        assert mw.parse(repr(case.mask)) == case.mask


@settings(max_examples=100)
@given(sparse_cases)
def test_json_and_pickle_round_trip(case: Case):
    if "custom" not in repr(case.mask):
        assert mw.Mask.from_json(case.mask.to_json()) == case.mask
        assert pickle.loads(pickle.dumps(case.mask)) == case.mask


@given(sparse_cases)
def test_growing_the_grid_changes_no_cell(case: Case):
    small = case.mask.bind(5, 6, q_start=2).dense()
    large = case.mask.bind(LENGTH - 2, LENGTH, q_start=2).dense()
    assert np.array_equal(small, large[..., :5, :6])


def test_the_hash_is_splitmix64():
    # The first outputs for seed 0, as published with the generator.
    state = np.array([0, 0x9E3779B97F4A7C15], dtype=np.uint64)
    assert _mix(state).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_random_blocks_never_change():
    """Values pinned: whoever trained with a drawing must get it again."""
    assert draw_blocks(3, 64, 0, np.arange(4)).T.tolist() == [[53, 2, 47], [47, 22, 4], [61, 52, 38], [36, 13, 50]]


def test_random_blocks_are_distinct_and_even():
    drawn = draw_blocks(3, 10, 7, np.arange(3000))
    assert all(len(set(row)) == 3 for row in drawn.T.tolist())
    assert set(drawn[:, 17].tolist()) == floyd(3, 10, 7, 17)
    share = np.bincount(drawn.ravel(), minlength=10) / 3000  # 0.3 each, with a deviation of 0.0084
    assert np.abs(share - 0.3).max() < 5 * 0.0084


def test_equal_sets_are_equal_masks():
    assert mw.global_tokens([3, 1, 3]) == mw.global_tokens([1, 3])
    assert mw.global_tokens([[3, 1, 3], [2]]) == mw.global_tokens([[-1, 1, 3], [2, -1, 2]])
    assert mw.neighborhood((3, 4), 3) == mw.neighborhood([3, 4], (3, 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.global_tokens([-1]), "at least 0, got -1"),
        (lambda: mw.global_tokens([[-2]]), "at least -1, got -2"),
        (lambda: mw.global_tokens([0.5]), "dtype float64"),
        (lambda: mw.dilated(-1, 1), "at least 0"),
        (lambda: mw.dilated(1, 0), "at least 1"),
        (lambda: mw.random_blocks(5, 2, 4, 0), "at most all 4 blocks"),
        (lambda: mw.random_blocks(1, 2, 4, 2**53), "at most 9007199254740991"),
        (lambda: mw.random_blocks(1, 2, 4, -1), "at least 0"),
        (lambda: mw.tree([0]), r"parents\[0\] = 0"),
        (lambda: mw.tree([-1, 0, 2]), r"parents\[2\] = 2"),
        (lambda: mw.tree([-2]), "at least -1"),
        (lambda: mw.neighborhood(3, 4), "window of 4 on 3"),
        (lambda: mw.neighborhood((2, 2, 2, 2, 2), 1), "got 5"),
        (lambda: mw.neighborhood((4, 6), 1, tile=(2, 4)), r"tiles of \[2, 4\] on \[4, 6\]"),
        (lambda: mw.neighborhood((2, 2), (1, 1, 1)), "each of its 2 axes"),
        (lambda: mw.neighborhood((2, 0), 1), "at least 1"),
    ],
)
def test_bad_parameters(make, words: str):
    with pytest.raises(MaskError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.random_blocks(1, 4, 3, 0).bind(13), "pass blocks=4"),
        (lambda: mw.tree([-1, 0]).bind(3), "reach 2"),
        (lambda: mw.neighborhood((2, 3), 1).bind(7), "reach 6"),
    ],
)
def test_short_parameters(make, words: str):
    with pytest.raises(GridError, match=words):
        make()


def test_too_many_runs_are_said_before_memory_is_taken():
    for mask in (mw.dilated(2**40, 2), mw.global_tokens(range(0, 2**16, 2))):
        with pytest.raises(TooManySpans, match="runs a row"):
            mask.bind(2**16).spans  # noqa: B018


def test_long_hops_on_a_short_grid_cost_nothing():
    assert mw.dilated(2**62, 2**62).bind(7).allowed == 7
    assert mw.dilated(2**50, 3).bind(7).allowed == sum(1 for q in range(7) for k in range(7) if (q - k) % 3 == 0)


@pytest.mark.parametrize(
    ("mask", "n", "allowed"),
    [
        (mw.neighborhood((200, 150), (3, 5)), 30_000, 30_000 * 15),
        (mw.neighborhood((200, 150), (3, 5), tile=(4, 5)), 30_000, 30_000 * 15),
        (mw.neighborhood((30, 40, 25), 3), 30_000, 30_000 * 27),
        (mw.dilated(3, 5), 30_000, 30_000 * 7 - 2 * (5 * 1 + 5 * 2 + 5 * 3)),
        (mw.random_blocks(3, 10, 3_000, 1), 30_000, 30_000 * 30),
        (mw.tree([-1, *range(29_999)]), 30_000, 30_000 * 30_001 // 2),
        (mw.global_tokens([7, 20_000]), 30_000, 4 * 30_000 - 4),
    ],
)
def test_long_rows_are_built_in_pieces(mask: mw.Mask, n: int, allowed: int):
    bound = mask.bind(n)
    assert bound.allowed == allowed
    for q in (0, 8191, 8192, 16_384, n - 1):
        assert bound.spans.row(q) == mask.bind(1, n, q_start=q).spans.row(0)
