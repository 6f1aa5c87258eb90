"""`from_spans` and `from_key_bounds` against dense definitions in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch

import maskwork as mw
from helpers.carried import assert_carried
from maskwork.errors import GridError, MaskError, TooManySpans

RANDOM = [np.random.default_rng(seed) for seed in range(20)]


def by_spans(starts: np.ndarray, ends: np.ndarray, kv_len: int) -> np.ndarray:
    """Return the cells of `(B, H, Q, R)` runs: bool `(B, H, Q, K)`."""
    k = np.arange(kv_len)
    return ((starts[..., None] <= k) & (k < ends[..., None])).any(axis=3)


def by_bounds(start: Any, end: Any, queries: np.ndarray) -> np.ndarray:
    """Return the cells of `(B, H, K)` ranges of hidden queries: bool `(B, H, Q, K)`."""
    q = queries[:, None]
    hidden = np.True_
    if start is not None:
        hidden = hidden & (start[..., None, :] <= q)
    if end is not None:
        hidden = hidden & (q < end[..., None, :])
    return ~hidden


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("lead", [(1, 1), (3, 1), (1, 2), (2, 2)])
def test_from_spans_is_its_runs(random: np.random.Generator, lead: tuple[int, int]):
    q_len, runs = int(random.integers(1, 12)), int(random.integers(1, 5))
    starts, ends = random.integers(-2, 16, (2, *lead, q_len, runs))
    mask = mw.from_spans(starts, ends)
    assert_carried(mask)
    for kv_len in (0, 5, 14):
        expected = by_spans(starts, ends, kv_len)
        got = mask.bind(q_len, kv_len, q_start=0, batch=lead[0], heads=lead[1])
        np.testing.assert_array_equal(np.broadcast_to(got.dense(), expected.shape), expected)
        rows = mask.bind(2 + q_len, kv_len, q_start=-2, batch=lead[0], heads=lead[1]).dense()
        assert not rows[:, :, :2].any(), "no row is before position 0"
        np.testing.assert_array_equal(np.broadcast_to(rows[:, :, 2:], expected.shape), expected)


@pytest.mark.parametrize(
    "text",
    [
        "causal",
        "sliding_window(3) | sinks(1)",
        "~band(1, 0)",
        "empty",
        "per_head([causal, full])",
        "real([[1,0],[0,1]])",
    ],
)
def test_from_spans_reads_the_spans_of_a_mask(text: str):
    length = 2 if "real" in text else 9
    spans = mw.parse(text).bind(length).spans
    mask = mw.from_spans(spans.starts, spans.ends)
    assert mask.bind(length).equals(mw.parse(text))
    assert_carried(mask)


def test_spellings_of_the_same_runs_are_one_mask():
    mask = mw.from_spans([0, 0, 5], [1, 2, 3])
    assert mask == mw.from_spans([[0], [0], [0]], [[1], [2], [0]])
    assert mask == mw.from_spans(torch.tensor([[[0, 0], [0, 1], [7, 7]]]), torch.tensor([[[1, 1], [1, 2], [7, 7]]]))
    assert mw.from_spans([], []).bind(0, 3, q_start=0).allowed == 0
    assert mw.from_spans([[], []], [[], []]).bind(2, 3, q_start=0).allowed == 0


@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("lead", [(), (3,), (1, 2), (2, 2)])
@pytest.mark.parametrize("given", ["start", "end", "both"])
def test_from_key_bounds_is_its_formula(random: np.random.Generator, lead: tuple[int, ...], given: str):
    n = int(random.integers(1, 14))
    start = None if given == "end" else random.integers(-3, n + 3, (*lead, n))
    end = None if given == "start" else random.integers(-3, n + 3, (*lead, n))
    mask = mw.from_key_bounds(start, end)
    allowed = mw.from_key_bounds(start, end, allow=True)
    assert_carried(mask)
    assert_carried(allowed)
    full = {1: (1, 1, n), 2: (*lead, 1, n), 3: (*lead, n)}[len(lead) + 1]
    sides = [None if side is None else side.reshape(full) for side in (start, end)]
    for q_start, q_len in ((0, n), (-4, n + 4), (3, 2)):
        for kv_len in (n, n - 1):
            queries = np.arange(q_start, q_start + q_len)
            expected = by_bounds(*sides, queries)[..., :kv_len]
            grid = {"q_len": q_len, "kv_len": kv_len, "q_start": q_start, "batch": full[0], "heads": full[1]}
            got = mask.bind(**grid).dense()
            np.testing.assert_array_equal(np.broadcast_to(got, expected.shape), expected)
            got = allowed.bind(**grid).dense()
            np.testing.assert_array_equal(np.broadcast_to(got, expected.shape), ~expected)


def test_from_key_bounds_takes_a_start_for_each_batch_row():
    start = np.array([[1, 4, 2, 9], [0, 0, 3, 3]])
    got = mw.from_key_bounds(start).bind(2, 4, q_start=[0, 2]).dense()
    expected = [by_bounds(start[b], None, np.arange(2) + q)[None] for b, q in enumerate((0, 2))]
    np.testing.assert_array_equal(got, np.stack(expected))
    got = mw.from_key_bounds(start[0]).bind(2, 4, q_start=[0, -2]).dense()
    expected = [by_bounds(start[0], None, np.arange(2) + q)[None] for q in (0, -2)]
    np.testing.assert_array_equal(got, np.stack(expected))


@pytest.mark.parametrize("random", RANDOM[:8])
@pytest.mark.parametrize(("causal", "columns"), [(True, 1), (True, 2), (False, 2), (False, 4)])
def test_columns_of_flash_mask(random: np.random.Generator, causal: bool, columns: int):
    """The loops of FlashMask's documentation, `flashmask_to_densemask`."""
    n, batch, heads = 10, 2, 2
    table = random.integers(0, n + 1, (batch, heads, n, columns))
    expected = np.ones((batch, heads, n, n), dtype=bool)
    for b, h, j in np.ndindex(batch, heads, n):
        c = table[b, h, j]
        pairs = {1: [(c[0], n)], 2: [(c[0], c[-1])] if causal else [(c[0], n), (0, c[-1])], 4: [c[:2], c[2:]]}[columns]
        for start, end in pairs:
            expected[b, h, start:end, j] = False
        if causal:
            expected[b, h, :j, j] = False
    c = np.moveaxis(table, -1, 0)
    mask = {
        1: lambda: mw.causal() & mw.from_key_bounds(c[0]),
        2: lambda: (
            mw.causal() & mw.from_key_bounds(c[0], c[1])
            if causal
            else mw.from_key_bounds(c[0]) & mw.from_key_bounds(None, c[1])
        ),
        4: lambda: mw.from_key_bounds(c[0], c[1]) & mw.from_key_bounds(c[2], c[3]),
    }[columns]()
    np.testing.assert_array_equal(mask.bind(n).dense(), expected)


def test_131072_columns_are_as_many_slots():
    n = 131_072
    ends = np.repeat(np.cumsum(np.full(256, n // 256)), n // 256)
    bound = (mw.causal() & mw.from_key_bounds(ends)).bind(n)
    assert bound.allowed == 256 * (512 * 513 // 2)
    assert bound.spans.runs == 1


@pytest.mark.parametrize("length", [300, 70_000])
def test_only_what_a_window_sees_of_scattered_bounds_is_computed(length: int):
    """Each key is dropped from a query of its own on, as caches evict: all rows hold runs by the thousand."""
    random = np.random.default_rng(0)
    start = np.arange(length) + random.integers(1, length, length)
    start[::3] -= length // 2
    bound = (mw.sliding_window(64) & mw.from_key_bounds(start)).bind(length)
    assert bound.spans.runs <= 32
    for q in (0, 63, length // 2, length - 1):
        keys = [k for a, b in bound.spans.row(q) for k in range(a, b)]
        assert keys == [k for k in range(max(q - 63, 0), q + 1) if q < start[k]]


def test_scattered_bounds_are_refused_before_they_are_sorted():
    start = np.arange(200_000) + np.random.default_rng(0).integers(1, 200_000, 200_000)
    with pytest.raises(TooManySpans):
        _ = mw.from_key_bounds(start).bind(200_000).spans


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_columns_that_the_documentation_of_flash_mask_shows(columns: int):
    """Paddle's documentation prints these columns beside the pictures of their masks."""
    if columns == 1:  # documents
        mask = mw.causal() & mw.from_key_bounds([4] * 4 + [7] * 3 + [10] * 3)
        assert mask.bind(10).equals(mw.causal() & mw.document([4, 3, 3]))
    elif columns == 2:  # documents, both ways
        start, end = [4] * 4 + [7] * 3 + [10] * 3, [0] * 4 + [4] * 3 + [7] * 3
        mask = mw.from_key_bounds(start) & mw.from_key_bounds(end=end)
        assert mask.bind(10).equals(mw.document([4, 3, 3]))
    else:  # three global tokens and a window of 3 past queries
        c = np.array([[10, 10, 0, 0]] * 3 + [[3, 10, 0, 0]] + [[n, 10, 3, n] for n in range(4, 10)]).T
        mask = mw.from_key_bounds(c[0], c[1]) & mw.from_key_bounds(c[2], c[3])
        seen = np.zeros((10, 10), dtype=bool)
        seen[:, :3] = seen[:3] = True
        assert mask.bind(10).dense()[0, 0].tolist() == seen.tolist()


def test_reasons():
    bound = mw.from_key_bounds([1, 9, 5], [3, 2, 5]).bind(4, 3, q_start=0)
    assert "key 0 is hidden from queries [1, 3)" in str(bound.explain(1, 0))
    assert "every query sees key 1" in str(bound.explain(1, 1))
    assert "[…, 2)" in str(mw.from_key_bounds(None, [2]).bind(1, 1).explain(0, 0))
    assert "key 1 is in none of the runs of query 0" in str(mw.from_spans([0, 0], [1, 1]).bind(2).explain(0, 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.from_spans([0], [1, 2]), "a start and an end for each run"),
        (lambda: mw.from_spans(0, 1), "1-D or 2-D"),
        (lambda: mw.from_spans([0.5], [1.0]), "integers"),
        (lambda: mw.from_key_bounds(), "got neither"),
        (lambda: mw.from_key_bounds([0], [1, 2]), "two arrays"),
        (lambda: mw.from_key_bounds(np.zeros((1, 1, 4, 2), dtype=int)), r"columns\[\.\.\., 0\]"),
        (lambda: mw.from_key_bounds([0], allow=2), "True or False"),
    ],
)
def test_what_breaks_a_rule_is_refused(make: Any, words: str):
    with pytest.raises(MaskError, match=words):
        make()


def test_a_grid_beyond_the_arrays_is_refused():
    with pytest.raises(GridError, match="runs are given for"):
        mw.from_spans([0, 0], [1, 1]).bind(3)
    with pytest.raises(GridError, match="bounds number"):
        mw.from_key_bounds([0, 0]).bind(3)
