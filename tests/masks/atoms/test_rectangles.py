"""`rectangles` against a dense definition in NumPy."""

from typing import Any

import numpy as np
import pytest

import maskwork as mw
from helpers.carried import assert_carried
from maskwork.errors import MaskError

KINDS = ("full", "causal", "inverse_causal", "bicausal")


def cells(q_ranges: Any, k_ranges: Any, kinds: Any, queries: np.ndarray, kv_len: int) -> np.ndarray:
    """Return the cells of the rectangles of one batch row: bool `(Q, K)`."""
    q, k = queries[:, None], np.arange(kv_len)
    allowed = np.zeros((len(queries), kv_len), dtype=bool)
    for (q0, q1), (k0, k1), kind in zip(q_ranges, k_ranges, kinds, strict=True):
        inside = (q0 <= q) & (q < q1) & (k0 <= k) & (k < k1)
        if kind in (1, 3):
            inside = inside & (k - k1 <= q - q1)
        if kind in (2, 3):
            inside = inside & (k - k0 >= q - q0)
        allowed |= inside
    return allowed


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kinds", [(0,), (1,), (2,), (3,), (0, 1, 2, 3)])
def test_rectangles_are_their_cells(seed: int, kinds: tuple[int, ...]):
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 7))
    q, k = (np.sort(random.integers(0, 15, (count, 2)), axis=1) for _ in range(2))
    kind = random.choice(kinds, count)
    mask = mw.rectangles(q, k, kind)
    assert_carried(mask)
    assert mask == mw.rectangles(q.tolist(), k.tolist(), [KINDS[i] for i in kind])
    for q_start, q_len, kv_len in ((0, 14, 14), (-3, 20, 9), (5, 2, 17), (0, 0, 4)):
        got = mask.bind(q_len, kv_len, q_start=q_start).dense()[0, 0]
        np.testing.assert_array_equal(got, cells(q, k, kind, np.arange(q_start, q_start + q_len), kv_len))


@pytest.mark.parametrize(
    ("kind", "shape", "rows"),
    [
        ("full", (5, 2), "11 11 11 11 11"),
        ("full", (2, 5), "11111 11111"),
        ("causal", (5, 2), "00 00 00 10 11"),
        ("causal", (2, 5), "11110 11111"),
        ("causal", (5, 5), "10000 11000 11100 11110 11111"),
        ("inverse_causal", (5, 2), "11 01 00 00 00"),
        ("inverse_causal", (2, 5), "11111 01111"),
        ("inverse_causal", (5, 5), "11111 01111 00111 00011 00001"),
        ("bicausal", (5, 2), "00 00 00 00 00"),
        ("bicausal", (2, 5), "11110 01111"),
        ("bicausal", (5, 5), "10000 01000 00100 00010 00001"),
    ],
)
def test_kinds_that_the_documentation_of_magi_attention_shows(kind: str, shape: tuple[int, int], rows: str):
    """The examples of `flex_flash_attn_func`, also away from the first cell."""
    expected = [[cell == "1" for cell in row] for row in rows.split()]
    for q, k in ((0, 0), (3, 1)):
        bound = mw.rectangles([[q, q + shape[0]]], [[k, k + shape[1]]], kind).bind(shape[0], k + shape[1], q_start=q)
        assert bound.dense()[0, 0, :, k:].tolist() == expected


@pytest.mark.parametrize("seed", range(6))
def test_rectangles_differ_by_batch_row(seed: int):
    random = np.random.default_rng(seed)
    q, k = (np.sort(random.integers(0, 12, (3, 4, 2)), axis=-1) for _ in range(2))
    kinds = random.integers(0, 4, (3, 4))
    mask = mw.rectangles(q, k, kinds)
    assert_carried(mask)
    assert mask.batch == 3
    got = mask.bind(5, 12, q_start=[0, 3, -2]).dense()
    for b, start in enumerate((0, 3, -2)):
        np.testing.assert_array_equal(got[b, 0], cells(q[b], k[b], kinds[b], np.arange(start, start + 5), 12))
    one = mw.rectangles(q[0], k[0], kinds[0]).bind(5, 12, q_start=[0, 3, -2]).dense()
    for b, start in enumerate((0, 3, -2)):
        np.testing.assert_array_equal(one[b, 0], cells(q[0], k[0], kinds[0], np.arange(start, start + 5), 12))


def test_whole_rectangles_cost_no_row():
    edges = np.arange(0, 65_537, 256)
    ranges = np.stack([edges[:-1], edges[1:]], axis=1)
    bound = mw.rectangles(ranges, ranges).bind(65_536)
    assert bound.allowed == 256 * 256**2
    assert bound.spans.runs == 1
    assert mw.rectangles(ranges, ranges, "causal").bind(65_536).allowed == 256 * (256 * 257 // 2)


def test_one_kind_stands_for_all_and_full_is_left_out():
    ranges = [[0, 2], [2, 3]]
    assert repr(mw.rectangles(ranges, ranges)) == "rectangles([[0, 2], [2, 3]], [[0, 2], [2, 3]])"
    assert mw.rectangles(ranges, ranges, 3) == mw.rectangles(ranges, ranges, "bicausal")
    assert "rectangle 1 holds it" in str(mw.rectangles(ranges, ranges).bind(3).explain(2, 2))
    assert "no rectangle holds it" in str(mw.rectangles(ranges, ranges).bind(3).explain(2, 0))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (([[0, 2, 3]], [[0, 2, 3]]), "pairs"),
        (([[2, 0]], [[0, 2]]), r"got \[2, 0\)"),
        (([[0, 2]], [[0, 2], [2, 3]]), "two arrays of one shape"),
        (([[0, 2]], [[0, 2]], "casual"), "got 'casual'"),
        (([[0, 2]], [[0, 2]], 4), "got 4"),
        (([[0, 2]], [[0, 2]], [0, 1]), "one kind for each"),
        (([0, 2], [0, 2]), "2-D or 3-D"),
        (([], []), "got none"),
        (([[-1, 2]], [[0, 2]]), "at least 0"),
    ],
)
def test_what_breaks_a_rule_is_refused(args: Any, words: str):
    with pytest.raises(MaskError, match=words):
        mw.rectangles(*args)
