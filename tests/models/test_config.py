"""`ModelConfig` checks its fields, and is written and read as plain values."""

import json

import numpy as np
import pytest

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.models import ModelConfig

SMALL = ModelConfig(vocab_size=53, layers=3, width=32, heads=4, kv_heads=2, hidden=48, context=64)


def test_configurations_are_checked():
    assert ModelConfig.from_dict(SMALL.to_dict()) == SMALL
    for change, words in (
        ({"width": 30}, "multiple of heads"),
        ({"kv_heads": 3}, "multiple of kv_heads"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"layers": "3"}, "layers must be an integer"),
        ({"rope_theta": -1.0}, "rope_theta must be above 0"),
        ({"rope_theta": True}, "rope_theta must be a number"),
        ({"depth": 3}, "no field 'depth'"),
    ):
        with pytest.raises(ArgumentError, match=words):
            ModelConfig.from_dict(SMALL.to_dict() | change)
    with pytest.raises(ArgumentError, match="needs the field 'width'"):
        ModelConfig.from_dict({k: v for k, v in SMALL.to_dict().items() if k != "width"})
    with pytest.raises(mw.errors.ParseError, match="causal"):
        ModelConfig.from_dict(SMALL.to_dict() | {"mask": "causl"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 10**9, "heads": 10**9 // 2}, "at most 68719476736 parameters"),
        ({"layers": 10**9}, "layers must be at most 10000"),
        ({"hidden": 10**30}, "hidden must be at most .* got an integer of 100 bits"),
        ({"hidden": 10**5000}, "an integer of 16610 bits"),
        ({"hidden": -(10**5000)}, "at least 1"),
        ({"context": 10**9}, "context must be at most 16777216"),
        ({"rope_theta": float("inf")}, "rope_theta must be finite, got inf"),
        ({"rope_theta": float("nan")}, "rope_theta must be finite"),
        ({"rope_theta": 10**400}, "rope_theta"),
        ({"mask": "document([[3, 29], [4, 28]])"}, "one of 2 batch rows"),
    ],
)
def test_absurd_configurations_are_refused_before_anything_is_allocated(change: dict[str, object], words: str):
    with pytest.raises(ArgumentError, match=words) as caught:
        ModelConfig.from_dict(SMALL.to_dict() | change)
    assert "\n" not in str(caught.value)


def test_numbers_are_stored_as_pythons_own():
    config = ModelConfig.from_dict(SMALL.to_dict() | {"width": np.int64(32), "rope_theta": np.float32(500.5)})
    assert (type(config.width), type(config.rope_theta)) == (int, float)
    # a run folder of before is resumed only where its configuration is the same JSON
    assert json.dumps(ModelConfig.from_dict(SMALL.to_dict() | {"rope_theta": 10000}).rope_theta) == "10000"
