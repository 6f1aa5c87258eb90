"""Packing `Example`s, what overflows a row, streams in a bounded buffer, and the report of waste."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork.data import IGNORED, Example, PackedRow, Reason, Waste, pack
from maskwork.errors import ArgumentError
from maskwork.objectives import CausalLM

STRATEGIES = ["best_fit", "first_fit", "sequential", "pad"]


def tokens_of(lengths: list[int]) -> list[list[int]]:
    """No token occurs twice."""
    numbers = count(1)
    return [list(islice(numbers, length)) for length in lengths]


def examples_of(lengths: list[int], mask: mw.Mask | None = None) -> list[Example]:
    return [CausalLM(mask or mw.causal()).example(tokens) for tokens in tokens_of(lengths)]


def simply_first_fit(lengths: list[int], max_len: int, buffer: int) -> list[list[int]]:
    """The definition, row by row."""
    done, open_rows = [], []
    for length in lengths:
        for row in open_rows:
            if sum(row) + length <= max_len:
                break
        else:
            if len(open_rows) == buffer:
                done.append(open_rows.pop(0))
            open_rows.append(row := [])
        row.append(length)
        if sum(row) == max_len:
            done.append(row)
            open_rows = [other for other in open_rows if other is not row]
    return done + open_rows


def simply_best_fit(lengths: list[int], max_len: int, buffer: int) -> list[list[int]]:
    held: list[list[int]] = [[]]
    for length in lengths:
        if sum(held[-1]) + length > buffer * max_len:
            held.append([])
        held[-1].append(length)
    done: list[list[int]] = []
    for some in held:
        rows: list[list[int]] = []
        for length in sorted(some, reverse=True):
            fitting = [row for row in rows if sum(row) + length <= max_len]
            fullest = max(map(sum, fitting), default=0)
            # Of rows alike full, the one that has been so for longest: the reference need not say which.
            row = next((row for row in fitting if sum(row) == fullest), None)
            if row is None:
                rows.append(row := [])
            row.append(length)
        done += rows
    return done


@given(st.lists(st.integers(2, 10), max_size=60), st.integers(1, 7))
def test_first_fit_is_its_definition(lengths: list[int], buffer: int):
    rows = pack(tokens_of(lengths), 10, "first_fit", buffer=buffer)
    assert [list(row.document_lengths) for row in rows] == simply_first_fit(lengths, 10, buffer)


@given(st.lists(st.integers(2, 10), max_size=60), st.integers(1, 7))
def test_best_fit_fills_as_its_definition(lengths: list[int], buffer: int):
    rows = list(pack(tokens_of(lengths), 10, "best_fit", buffer=buffer))
    expected = simply_best_fit(lengths, 10, buffer)
    assert sorted(10 - row.padding for row in rows) == sorted(map(sum, expected))
    assert [row.document_lengths[0] for row in rows] == [row[0] for row in expected]


def test_pad_keeps_each_example_by_itself():
    rows = list(pack(tokens_of([3, 2, 4]), 4, "pad"))
    assert [row.tokens.tolist() for row in rows] == [[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 9]]
    assert [row.padding for row in rows] == [1, 2, 0]


@pytest.mark.parametrize("strategy", ["best_fit", "first_fit"])
def test_an_endless_stream_is_packed_within_the_buffer(strategy: str):
    taken = 0

    def endless() -> Iterator[list[int]]:
        nonlocal taken
        for number in count(1):
            taken += 1
            yield [number] * (2 + number % 7)

    rows = pack(endless(), 16, strategy, buffer=4)
    given_out = 0
    for row in islice(rows, 50):
        given_out += len(row.document_lengths)
        # Whatever waits in the buffer is at most what 4 rows hold, and the example that was read last.
        waiting = sum(2 + number % 7 for number in range(1, taken + 1)) - rows.waste.used
        assert waiting <= 4 * 16 + 8
    assert given_out <= taken


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(lengths=st.lists(st.integers(0, 30), max_size=12), max_len=st.integers(2, 9), overlong=st.booleans())
def test_every_position_of_an_example_comes_once_with_what_it_scores(
    strategy: str, lengths: list[int], max_len: int, overlong: bool
):
    examples = examples_of(lengths)
    rows = list(pack(examples, max_len, strategy, "split" if overlong else "truncate", buffer=3))
    found: dict[int, tuple[int, float, int]] = {}
    for row in rows:
        assert [len(example) for example in row.examples] == list(row.document_lengths)
        for example, document in zip(row.examples, row.documents, strict=True):
            assert example.tokens.tolist() == document.tolist()
            assert example.mask == mw.causal()
            for token, *scored in zip(
                example.tokens.tolist(), example.targets.tolist(), example.weights, example.reasons, strict=True
            ):
                assert token not in found
                found[token] = tuple(scored)
    kept = {
        token: scored
        for example in examples
        for token, *scored in list(
            zip(example.tokens.tolist(), example.targets.tolist(), example.weights, example.reasons, strict=True)
        )[: None if overlong else max_len]
    }
    assert found == {token: tuple(scored) for token, scored in kept.items()}


def test_a_piece_of_an_example_keeps_the_mask_of_its_place():
    example = examples_of([7])[0]
    chunks = Example(example.tokens, example.targets, example.weights, mw.chunked(3), example.reasons)
    rows = list(pack([chunks], 4, "sequential", "split"))
    pieces = [row.examples[0] for row in rows]
    assert [len(piece) for piece in pieces] == [4, 3]
    dense = mw.chunked(3).bind(7).dense()
    assert np.array_equal(pieces[0].mask.bind(4).dense(), dense[..., :4, :4])
    assert np.array_equal(pieces[1].mask.bind(3).dense(), dense[..., 4:, 4:])
    # The last token of the first piece still predicts the next one, which lies in another row.
    assert pieces[0].targets.tolist() == [2, 3, 4, 5]
    assert pieces[1].targets.tolist() == [6, 7, IGNORED]


def test_a_piece_holds_nothing_of_the_rest_in_memory():
    example = examples_of([9])[0]
    for name in ("tokens", "targets", "weights", "reasons"):
        assert getattr(example.piece(0, 2), name).base is None
    (row,) = pack([np.arange(1, 10)], 4, overflow="truncate")
    assert row.tokens.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("examples", [tokens_of([3, 5]), examples_of([3, 5])], ids=["tokens", "examples"])
def test_what_is_too_long_is_refused_unless_told_otherwise(strategy: str, examples: list):
    with pytest.raises(ArgumentError, match=r"row of 4 tokens, got 5 in example 1; pass overflow=\"split\""):
        list(pack(examples, 4, strategy))
    assert sum(4 - row.padding for row in pack(examples, 4, strategy, "truncate")) == 7


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_mixed_kinds_are_refused(strategy: str):
    tokens, examples = tokens_of([3]), examples_of([3])
    with pytest.raises(ArgumentError, match="of one kind, got an Example as example 1 after bare tokens"):
        list(pack(tokens + examples, 4, strategy))
    with pytest.raises(ArgumentError, match="of one kind, got bare tokens as example 1 after an Example"):
        list(pack(examples + tokens, 4, strategy))


def test_a_one_token_example_may_be_scored_and_an_empty_one_is_dropped():
    tag = Example(np.array([5]), np.array([1]), np.ones(1, np.float32), mw.full(), np.full(1, Reason.SCORED, np.uint8))
    rows = pack([tag, tag.piece(0, 0)], 4)
    assert [row.tokens.tolist() for row in rows] == [[5, 0, 0, 0]]
    assert rows.waste == Waste(rows=1, slots=4, used=1, examples=2, dropped=1)


def test_the_report_of_waste_counts_while_rows_are_taken():
    rows = pack(tokens_of([4, 3, 1, 9, 2]), 6, "sequential", "truncate")
    assert rows.waste == Waste()
    assert rows.waste.share == 1.0
    assert next(rows).document_lengths == (4,)
    assert rows.waste == Waste(rows=1, slots=6, used=4, examples=2)
    assert [row.document_lengths for row in rows] == [(3,), (6,), (2,)]
    assert rows.waste == Waste(rows=4, slots=24, used=15, examples=5, dropped=1, truncated=3)
    assert rows.waste.share == 15 / 24
    assert str(rows.waste) == "4 rows, 15 of 24 slots used (62.50 %); 5 examples, 1 dropped, 3 tokens truncated"


def test_rows_are_an_iterator_that_ends():
    rows = pack(tokens_of([2]), 4)
    assert iter(rows) is rows
    assert isinstance(next(rows), PackedRow)
    assert next(rows, None) is None
    assert next(rows, None) is None
