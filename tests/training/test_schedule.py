"""The learning rate, a pure function of the step."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwork.training import TrainConfig, learning_rate


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
