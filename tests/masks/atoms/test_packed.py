"""`packed`: each sequence is the inner mask on its own grid, laid where its queries and keys are."""

from typing import Any

import numpy as np
import pytest

import maskwork as mw
from helpers.carried import assert_carried
from maskwork.errors import GridError, MaskError

INNER = {
    "causal": mw.causal(),
    "full": mw.full(),
    "window": mw.sliding_window(2),
    "band": mw.band(1, 1),
    "sinks": mw.causal() & (mw.sliding_window(2) | mw.sinks(1)),
    "not": ~mw.causal(),
    "even keys": mw.real([i % 2 == 0 for i in range(9)]),
    "two heads": mw.per_head([mw.causal(), mw.full()]),
    "documents": mw.document(ids=[0, 0, 1, 1, 1, 0, 2, 2, 0]),
    "chunks": mw.chunked(2),
    "padding": mw.padding(starts=2),
}


def assembled(
    mask: mw.Mask, q_lengths: Any, k_lengths: Any, q_starts: Any, k_indices: list[np.ndarray], kv_len: int
) -> np.ndarray:
    """Return the cells of one batch row `(H, Q, K)`: the mask of each sequence, bound alone, put where its keys are."""
    out = np.zeros((mask.heads, sum(q_lengths), kv_len), dtype=bool)
    first = 0
    for q_len, k_len, start, keys in zip(q_lengths, k_lengths, q_starts, k_indices, strict=True):
        if q_len and k_len:
            cells = mask.bind(q_len, k_len, q_start=int(start)).dense()[0]
            out[:, first : first + q_len, keys] = cells
        first += q_len
    return out


def draw(seed: int) -> tuple[np.random.Generator, list[int], list[int]]:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 5))
    return random, random.integers(0, 6, count).tolist(), random.integers(0, 7, count).tolist()


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("align", ["end", "start", "given"])
def test_sequences_are_the_mask_on_their_own_grids(inner: str, seed: int, align: str):
    random, q_lengths, k_lengths = draw(seed)
    mask = INNER[inner]
    q_starts = {
        "end": np.subtract(k_lengths, q_lengths),
        "start": np.zeros(len(q_lengths), dtype=int),
        "given": random.integers(0, 3, len(q_lengths)),
    }[align]
    how = {"q_starts": q_starts} if align == "given" else {"align": align}
    packed = mw.packed(mask, q_lengths, k_lengths, **how)
    assert_carried(packed)
    q_len, kv_len = sum(q_lengths), sum(k_lengths)
    ends = np.cumsum(k_lengths)
    keys = [np.arange(end - length, end) for end, length in zip(ends, k_lengths, strict=True)]
    expected = assembled(mask, q_lengths, k_lengths, q_starts, keys, kv_len)
    bound = packed.bind(q_len, kv_len, q_start=0)
    np.testing.assert_array_equal(np.broadcast_to(bound.dense()[0], expected.shape), expected)
    if q_len > 2 and kv_len > 2:
        part = packed.bind(q_len - 2, kv_len - 1, q_start=2).dense()[0]
        np.testing.assert_array_equal(np.broadcast_to(part, (mask.heads, q_len - 2, kv_len - 1)), expected[:, 2:, :-1])
        joined = (packed & mw.from_dense(random.random((q_len, kv_len)) < 0.5)).bind(q_len, kv_len, q_start=0)
        assert joined.subset_of(packed)
        for q, k in random.integers(0, (q_len, kv_len), (10, 2)).tolist():
            assert bound.explain(q, k).allowed == expected[0, q, k]


@pytest.mark.parametrize("inner", ["causal", "full", "sinks", "not", "two heads"])
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["padded", "gappy", "paged", "paged gappy"])
def test_keys_with_room_and_on_pages(inner: str, seed: int, kind: str):
    random, q_lengths, k_lengths = draw(seed)
    mask, count = INNER[inner], len(q_lengths)
    if kind.startswith("paged"):
        size = int(random.integers(1, 4))
        first_slots = random.integers(0, 5, count) if "gappy" in kind else np.zeros(count, dtype=int)
        need = [-(-length // size) for length in first_slots + k_lengths]
        order = random.permutation(sum(need) + 2)
        pages = np.full((count, max(need) + 1), -1)
        first = 0
        for i, number in enumerate(need):
            pages[i, :number] = order[first : first + number]
            first += number
        where = {"pages": pages, "page_size": size} | ({"k_starts": first_slots} if "gappy" in kind else {})
        j = [slot + np.arange(length) for slot, length in zip(first_slots, k_lengths, strict=True)]
        keys = [pages[i, index // size] * size + index % size for i, index in enumerate(j)]
        kv_len = len(order) * size
    else:
        room = np.full(count, 8) if kind == "padded" else np.add(k_lengths, random.integers(0, 4, count))
        k_starts = np.cumsum(room) - room
        where = {"k_starts": k_starts}
        keys = [start + np.arange(length) for start, length in zip(k_starts, k_lengths, strict=True)]
        kv_len = int(room.sum())
    packed = mw.packed(mask, q_lengths, k_lengths, **where)
    assert_carried(packed)
    q_starts = np.subtract(k_lengths, q_lengths)
    expected = assembled(mask, q_lengths, k_lengths, q_starts, keys, kv_len)
    bound = packed.bind(sum(q_lengths), kv_len, q_start=0)
    np.testing.assert_array_equal(np.broadcast_to(bound.dense()[0], expected.shape), expected)
    if sum(q_lengths) and kv_len:
        for q, k in random.integers(0, (sum(q_lengths), kv_len), (10, 2)).tolist():
            assert bound.explain(q, k).allowed == expected[0, q, k]


@pytest.mark.parametrize("seed", range(6))
def test_lengths_differ_by_batch_row(seed: int):
    random = np.random.default_rng(seed)
    q_lengths, k_lengths = random.integers(0, 5, (2, 2, 3))
    q_lengths[:, 2] += q_lengths.sum(axis=1).max() - q_lengths.sum(axis=1)
    k_lengths[:, 2] += k_lengths.sum(axis=1).max() - k_lengths.sum(axis=1)
    packed = mw.packed(mw.causal(), q_lengths.tolist(), k_lengths)
    assert_carried(packed)
    got = packed.bind(int(q_lengths[0].sum()), int(k_lengths[0].sum()), q_start=0).dense()
    for b in range(2):
        ends = np.cumsum(k_lengths[b])
        keys = [np.arange(end - length, end) for end, length in zip(ends, k_lengths[b], strict=True)]
        starts = k_lengths[b] - q_lengths[b]
        expected = assembled(mw.causal(), q_lengths[b], k_lengths[b], starts, keys, int(ends[-1]))
        np.testing.assert_array_equal(got[b], expected)


def test_equal_lengths_are_within_and_the_ways_to_align_are_one():
    lengths = [3, 1, 4]
    packed = mw.packed(mw.causal(), lengths, lengths)
    assert (
        packed == mw.packed(mw.causal(), lengths, lengths, "start") == mw.packed(mw.causal(), lengths, lengths, "end")
    )
    assert packed.bind(8).equals(mw.within(mw.causal(), lengths))
    assert mw.packed(mw.causal(), [1, 2], [4, 3], align="start") == mw.packed(mw.causal(), [1, 2], [4, 3], q_starts=0)
    assert mw.packed(mw.causal(), [1, 2], [4, 3]) == mw.packed(mw.causal(), [1, 2], [4, 3], q_starts=[3, 1])
    assert repr(packed) == "packed(causal, [3, 1, 4], [3, 1, 4])"


def test_a_query_before_position_0_sees_nothing():
    bound = mw.packed(mw.full(), [2, 2], [2, 2]).bind(4, 4, q_start=-2)
    assert not bound.dense()[0, 0, :2].any()
    assert not bound.explain(-1, 0).allowed


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mw.packed([3], [3], [3]), "a mask first"),
        (lambda: mw.packed(mw.causal(), [3, 1], [3]), "got 2 and 1 lengths"),
        (lambda: mw.packed(mw.causal(), [3], [3], "right"), "'right'"),
        (lambda: mw.packed(mw.causal(), [3], [3], "end", q_starts=0), "got both"),
        (lambda: mw.packed(mw.causal(), [3], [3], q_starts=[0, 1]), "one for each of the 1 sequences"),
        (lambda: mw.packed(mw.causal(), [3], [3], pages=[[0]]), "no page_size"),
        (lambda: mw.packed(mw.causal(), [3], [3], page_size=2), "no pages"),
        (lambda: mw.packed(mw.causal(), [3], [3], pages=[[0, -1]], page_size=2), "1 pages of 2 for the 3 keys"),
        (lambda: mw.packed(mw.causal(), [3], [3], pages=[[0, 1]], page_size=2, k_starts=[2]), "1 pages of 2 for the 3"),
        (lambda: mw.packed(mw.causal(), [[3], [3]], [[3], [3]], pages=[[0, 1]], page_size=2), "lengths too"),
        (lambda: mw.packed(mw.per_row([mw.causal(), mw.full()]), [[1]] * 3, [[1]] * 3), "batch size"),
    ],
)
def test_what_breaks_a_rule_is_refused(make: Any, words: str):
    with pytest.raises(MaskError, match=words):
        make()


def test_a_grid_beyond_the_sequences_is_refused():
    with pytest.raises(GridError, match="q_lengths sum to"):
        mw.packed(mw.causal(), [2], [5]).bind(3, 5, q_start=0)
    with pytest.raises(GridError, match="k_lengths sum to"):
        mw.packed(mw.causal(), [2], [5]).bind(2, 6, q_start=0)
    with pytest.raises(GridError, match="marks number"):
        mw.packed(mw.real([1, 1]), [2], [5]).bind(2, 5, q_start=0)


def test_pages_that_no_key_needs_may_be_missing_or_shared():
    # A window has dropped the first page, and two sequences share one page.
    pages = [[-1, 3, 0], [3, 1, -1]]
    mask = mw.packed(mw.sliding_window(3), [1, 1], [3, 4], k_starts=[2, 0], pages=pages, page_size=2)
    assert mask.bind(2, 8, q_start=0).dense().astype(int)[0, 0].tolist() == [
        [1, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 1, 1, 0, 0, 0, 1],
    ]
    # vLLM fills a table with one page that no query sees.
    repeated = mw.packed(mw.sliding_window(2), [1], [6], pages=[[0, 0, 2]], page_size=2).bind(1, 6, q_start=0)
    assert repeated.spans.row(0) == [(4, 6)]
    twice = mw.packed(mw.sliding_window(3), [1], [5], pages=[[0, 0, 2]], page_size=2).bind(1, 6, q_start=0)
    assert twice.spans.row(0) == [(0, 2), (4, 5)]
    assert [twice.explain(0, k).allowed for k in range(6)] == twice.dense()[0, 0, 0].tolist()


def test_only_what_a_window_sees_is_computed():
    n = 70_000  # a document has 140 runs, 10 million for all queries
    ids = np.random.default_rng(0).integers(0, 500, n)
    packed = mw.packed(mw.document(ids=ids), [n - 10_000, 10_000], [n, 20_000])
    bound = (mw.sliding_window(64) & packed).bind(n, n + 20_000, q_start=0)
    assert bound.spans.runs < 10
    for q in (0, 63, 5_000, 59_999):  # a query of the first sequence stands 10,000 keys further on
        keys = [k for a, b in bound.spans.row(q) for k in range(a, b)]
        assert keys == [k for k in range(max(q - 63, 0), q + 1) if ids[k] == ids[q + 10_000]]
