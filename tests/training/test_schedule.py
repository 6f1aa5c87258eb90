"""The two pure functions of the step: its learning rate and its rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwork.errors import ArgumentError
from maskwork.training import TrainConfig, learning_rate, rows_of_step


def test_schedule_rises_evenly_then_falls_to_its_floor(make_config):
    config = make_config(steps=101, warmup_steps=20, learning_rate=2.0, min_learning_rate_ratio=0.05)
    rates = [learning_rate(step, config) for step in range(101)]
    rises = np.diff(rates[:21])
    assert np.allclose(rises, rises[0])
    assert rates[0] == pytest.approx(2.0 / 21)
    assert rates[20] == max(rates) == 2.0
    assert all(np.diff(rates[20:]) < 0)
    assert rates[60] == pytest.approx(0.1 + 1.9 / 2)  # halfway between the peak and the last step
    assert rates[100] == pytest.approx(0.1)


@given(st.integers(1, 30), st.integers(0, 30), st.floats(0, 1))
def test_schedule_stays_within_its_bounds(steps, warmup, ratio):
    config = TrainConfig(
        steps=steps,
        batch_rows=1,
        learning_rate=1.0,
        warmup_steps=min(warmup, steps),
        min_learning_rate_ratio=ratio,
        eval_every=0,
        save_every=0,
    )
    rates = [learning_rate(step, config) for step in range(steps)]
    assert all(0 <= rate <= 1.0 and math.isfinite(rate) for rate in rates)
    assert all(rate > 0 for rate in rates[: config.warmup_steps])


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
    with pytest.raises(ArgumentError, match="at least one row"):
        rows_of_step(0, 1, 0, 0)
