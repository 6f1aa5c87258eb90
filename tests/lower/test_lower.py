"""What all lowerings have in common: each is made once, of a bound mask."""

import pytest
import torch

import maskwork as mw
from maskwork.errors import ArgumentError
from maskwork.lower import to_additive, to_dense


def test_lowerings_are_memoised_per_device_and_dtype():
    bound = (mw.causal() & mw.sliding_window(2)).bind(4)
    assert to_dense(bound) is to_dense(bound, "cpu")
    assert to_additive(bound) is to_additive(bound)
    assert to_additive(bound) is not to_additive(bound, torch.bfloat16)


@pytest.mark.parametrize("name", ["to_dense", "to_additive", "to_sdpa", "to_block_mask", "to_varlen", "to_hf"])
def test_a_mask_is_bound_first(name: str):
    lower = getattr(mw.lower, name)
    with pytest.raises(ArgumentError, match="bind it first"):
        lower(mw.causal())
    with pytest.raises(ArgumentError, match="got Tensor"):
        lower(torch.ones(2, 2, dtype=torch.bool))
