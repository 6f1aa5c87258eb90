"""`TrainConfig`: every field has a range, and says so."""

import json

import pytest

from maskwork.errors import ArgumentError
from maskwork.training import TrainConfig

LEAST = {
    "steps": 10,
    "batch_rows": 2,
    "learning_rate": 1e-3,
    "warmup_steps": 1,
    "eval_every": 5,
    "save_every": 5,
}


def test_goes_through_json_and_back():
    config = TrainConfig(**LEAST, betas=(0.8, 0.99), seed=7, accumulate=3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.rows_per_step == 6
    assert hash(config) == hash(TrainConfig.from_dict(config.to_dict()))


def test_whole_numbers_are_numbers():
    config = TrainConfig.from_dict(LEAST | {"learning_rate": 1, "clip": 0, "betas": [0, 0.9]})
    assert isinstance(config.learning_rate, float)
    assert config.betas == (0.0, 0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 1.5}, r"steps must be an integer, got 1.5 \(float\)"),
        ({"batch_rows": True}, r"batch_rows must be an integer, got True \(bool\)"),
        ({"batch_rows": 0}, "batch_rows must be at least 1"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"learning_rate": "1e-3"}, r"learning_rate must be a number, got '1e-3' \(str\)"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite"),
        ({"min_learning_rate_ratio": 1.5}, r"min_learning_rate_ratio must lie in \[0, 1\], got 1.5"),
        ({"warmup_steps": 11}, "warmup_steps must be at most steps, got 11 of 10"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"clip": -1.0}, "clip must be at least 0"),
        ({"clip": float("inf")}, "clip must be finite"),
        ({"betas": 0.9}, "betas must be two numbers, got 0.9"),
        ({"betas": [0.9, 1.0]}, r"betas must lie in \[0, 1\), got 0.9 and 1"),
        ({"betas": ["a", "b"]}, "each of betas must be a number, got 'a'"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807, got 9223372036854775808"),
        ({"steps": 2**31}, "steps must be at most 2147483647, got 2147483648"),
        ({"log_every": 10**5000}, "got an integer of 16610 bits"),
        ({"learning_rate": 10**400}, "learning_rate must be finite"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"eval_every": -1}, "eval_every must be at least 0"),
        ({"save_every": None}, "save_every must be an integer, got None"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"lr": 1e-3}, "unknown training key 'lr'; the known keys are steps, batch_rows, accumulate"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        TrainConfig.from_dict(LEAST | change)
    assert "\n" not in str(caught.value)


def test_names_what_is_missing():
    partial = {key: LEAST[key] for key in ("steps", "batch_rows")}
    message = "needs learning_rate, warmup_steps, eval_every, save_every, got only steps, batch_rows"
    with pytest.raises(ArgumentError, match=message):
        TrainConfig.from_dict(partial)
    with pytest.raises(ArgumentError, match="must be a table"):
        TrainConfig.from_dict([("steps", 1)])
