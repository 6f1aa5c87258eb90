"""Packing predicts every token of every example but the first exactly once, whatever the strategy."""

from collections import Counter
from collections.abc import Iterator
from itertools import count, islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwork.data import PackedRow, pack
from maskwork.errors import ArgumentError

STRATEGIES = ["best_fit", "first_fit", "sequential", "pad"]


def numbered(lengths: list[int]) -> list[list[int]]:
    """Examples in which no token occurs twice, so that every pair of neighbours names its place."""
    numbers = count(1)
    return [list(islice(numbers, length)) for length in lengths]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(lengths=st.lists(st.integers(0, 40), max_size=30), max_len=st.integers(2, 17), buffer=st.integers(1, 6))
def test_every_pair_of_neighbours_occurs_exactly_once(
    strategy: str, lengths: list[int], max_len: int, buffer: int
) -> None:
    examples = numbered(lengths)
    rows = list(pack(examples, max_len, strategy, "split", buffer=buffer))
    wanted = Counter(pair for example in examples for pair in pairwise(example))
    found = Counter(pair for row in rows for block in row.documents for pair in pairwise(block.tolist()))
    assert found == wanted
    for row in rows:
        assert row.tokens.shape == (max_len,)
        assert row.tokens.dtype == np.int64
        assert sum(row.lengths) == max_len
        assert row.padding in (0, row.lengths[-1])
        assert row.tokens[max_len - row.padding :].tolist() == [0] * row.padding
        assert all(len(block) >= 2 for block in row.documents)
        assert row.padding < max_len


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_long_example_is_cut_with_an_overlap_of_one(strategy: str) -> None:
    rows = list(pack([range(1, 8)], 3, strategy, "split"))
    assert [row.tokens.tolist() for row in rows] == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]
    rows = list(pack([range(1, 7)], 3, strategy, "split"))
    assert [row.tokens.tolist() for row in rows] == [[1, 2, 3], [3, 4, 5], [5, 6, 0]]
    assert rows[-1].lengths == (2, 1)
    assert rows[-1].padding == 1
    assert [block.tolist() for block in rows[-1].documents] == [[5, 6]]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_has_nothing_to_predict_is_dropped(strategy: str) -> None:
    assert list(pack([], 4, strategy)) == []
    assert list(pack([[], [7], np.array([], dtype=np.int32)], 4, strategy)) == []


def test_best_fit_chooses_the_tightest_row() -> None:
    # 7 and 5 open rows with 3 and 5 left; the 3 goes where it fills the row, then 2 and 2 into the other.
    rows = list(pack(numbered([5, 7, 2, 3, 2]), 10, "best_fit"))
    assert [row.lengths for row in rows] == [(7, 3), (5, 2, 2, 1)]
    assert [row.padding for row in rows] == [0, 1]


def test_best_fit_is_as_full_as_the_pieces_allow() -> None:
    lengths = list(np.random.default_rng(0).integers(2, 400, size=2000))
    rows = list(pack(numbered([int(length) for length in lengths]), 512, "best_fit"))
    assert len(rows) <= 1.01 * sum(lengths) / 512
    assert len(rows) < 0.9 * len(list(pack(numbered([int(n) for n in lengths]), 512, "sequential")))


@given(st.lists(st.integers(2, 9), max_size=40))
def test_best_fit_never_leaves_two_rows_that_would_fit_one(lengths: list[int]) -> None:
    used = [10 - row.padding for row in pack(numbered(lengths), 10)]
    assert all(a + b > 10 for i, a in enumerate(used) for b in used[i + 1 :])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_input_gives_equal_rows(strategy: str) -> None:
    examples = numbered([3, 9, 4, 4, 3, 2, 8] * 5)
    first, second = (list(pack(examples, 10, strategy)) for _ in range(2))
    assert [(a.tokens.tolist(), a.lengths) for a in first] == [(b.tokens.tolist(), b.lengths) for b in second]


def test_sequential_keeps_the_order_and_holds_one_row() -> None:
    taken = 0

    def endless() -> Iterator[list[int]]:
        nonlocal taken
        for start in count(1, 3):
            taken += 1
            yield [start, start + 1, start + 2]

    rows = list(islice(pack(endless(), 8, "sequential"), 3))
    assert [row.tokens.tolist() for row in rows][:2] == [
        [1, 2, 3, 4, 5, 6, 0, 0],
        [7, 8, 9, 10, 11, 12, 0, 0],
    ]
    assert taken == 7


def test_sequential_does_not_wait_once_a_row_is_full() -> None:
    taken: list[int] = []
    rows = pack((taken.append(i) or [1, 2, 3, 4] for i in range(3)), 4, "sequential")
    next(rows)
    assert taken == [0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_arrays_of_any_integer_type_are_examples(dtype: type) -> None:
    (row,) = pack([np.array([1, 2, 3], dtype=dtype)], 3)
    assert row.tokens.dtype == np.int64
    assert row.tokens.tolist() == [1, 2, 3]


@pytest.mark.parametrize("max_len", [1, 0, -5, 2.5, "8", None, True])
def test_a_row_needs_two_tokens(max_len: object) -> None:
    with pytest.raises(ArgumentError, match=r"max_len must be (at least 2|an integer), got"):
        pack([[1, 2]], max_len)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "worst_fit"}, "'best_fit', 'first_fit', 'sequential', 'pad', got 'worst_fit'"),
        ({"overflow": "drop"}, "'raise', 'split', 'truncate', got 'drop'"),
        ({"buffer": 0}, "buffer must be at least 1, got 0"),
        ({"buffer": True}, "buffer must be an integer, got True"),
        ({"buffer": 1.5}, "buffer must be an integer, got 1.5"),
    ],
)
def test_an_unknown_option_is_refused_at_the_call(options: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pack([[1, 2]], 4, **options)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("example", "found"),
    [
        ([1.0, 2.0], "float64"),
        ([1, None], "object"),
        ("text", "str"),
        (["a", "b"], "list"),
        ([True, False], "bool"),
        ([[1, 2], [3, 4]], "2-D"),
        ([[1, 2], [3]], "list"),
        (7, "int"),
        (None, "NoneType"),
        ([1, 2**70], "object"),
        ([3, -1], "-1"),
        (np.array([1, 2**63], dtype=np.uint64), str(2**63)),
    ],
)
def test_what_is_not_a_sequence_of_tokens_is_refused(strategy: str, example: object, found: str) -> None:
    rows = pack([[1, 2], example], 4, strategy)  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="integers >= 0") as caught:
        list(rows)
    assert found in str(caught.value)
    assert "example 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "lengths", "padding"),
    [
        (np.arange(4), (2, 1), 0),
        (np.arange(4), (4, 0), 0),
        (np.arange(4), (2, 2), 1),
        (np.arange(4), (), 0),
        (np.arange(4, dtype=np.int32), (4,), 0),
        (np.arange(4).reshape(2, 2), (2,), 0),
    ],
)
def test_a_row_checks_itself(tokens: np.ndarray, lengths: tuple[int, ...], padding: int) -> None:
    with pytest.raises(ArgumentError):
        PackedRow(tokens, lengths, padding)


def test_torch_takes_a_row_without_a_copy_or_a_warning() -> None:
    (row,) = pack([torch.arange(4)], 4)
    tensor = torch.from_numpy(row.tokens)
    assert tensor.tolist() == [0, 1, 2, 3]
