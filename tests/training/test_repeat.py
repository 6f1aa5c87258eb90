"""The rows of a step, a pure function of seed and step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwork.errors import ArgumentError
from maskwork.training import rows_of_step
from maskwork.training._repeat import RowOrder


@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 2**40))
def test_every_epoch_holds_every_row_once(n_rows, per_step, seed):
    steps = -(-3 * n_rows // per_step)
    stream = np.concatenate([rows_of_step(n_rows, per_step, seed, step) for step in range(steps)])
    for epoch in range(3):
        part = stream[epoch * n_rows : (epoch + 1) * n_rows]
        assert sorted(part) == list(range(n_rows))


def test_order_depends_on_seed_and_epoch_and_nothing_else():
    forward = [rows_of_step(50, 10, 3, step).tolist() for step in range(20)]
    backward = [rows_of_step(50, 10, 3, step).tolist() for step in reversed(range(20))]
    assert forward == backward[::-1]
    assert forward[:5] != forward[5:10]
    assert forward[0] != rows_of_step(50, 10, 4, 0).tolist()


def test_order_is_pinned():
    # A checkpoint of today is resumed by the library of tomorrow: this order may never change.
    assert rows_of_step(8, 8, seed=0, step=0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert rows_of_step(8, 4, seed=5, step=3).tolist() == [4, 2, 0, 3]


def test_fewer_rows_than_a_step_reads():
    recurring = rows_of_step(3, 7, 0, 0).tolist()
    assert sorted(recurring[:3]) == sorted(recurring[3:6]) == [0, 1, 2]
    assert recurring[6] in (0, 1, 2)
    assert np.bincount(rows_of_step(3, 9, 0, 5)).tolist() == [3, 3, 3]


def test_no_rows():
    with pytest.raises(ArgumentError, match="n_rows must be at least 1"):
        rows_of_step(0, 1, 0, 0)


@given(st.integers(1, 9), st.integers(1, 20), st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_an_order_that_remembers_its_epochs_is_the_pure_function(n_rows, per_step, steps):
    order = RowOrder(n_rows, per_step, 7)
    for step in steps:
        assert np.array_equal(order.of_step(step), rows_of_step(n_rows, per_step, 7, step))
