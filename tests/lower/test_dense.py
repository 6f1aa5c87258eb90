"""Dense lowerings equal `dense()` cell for cell."""

import pytest
import torch
from hypothesis import given

import maskwork as mw
from helpers.strategies import Case, cases, grids
from maskwork.errors import ArgumentError
from maskwork.lower import to_additive, to_dense


@given(cases, grids())
def test_dense_and_additive_are_the_mask(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    dense = torch.from_numpy(bound.dense())
    assert torch.equal(to_dense(bound), dense)
    for dtype in (torch.float32, torch.bfloat16):
        additive = to_additive(bound, dtype)
        assert additive.dtype == dtype
        assert torch.equal(additive == 0, dense)
        assert torch.equal(additive == -torch.inf, ~dense)


@given(cases, grids())
def test_finfo_min_on_request(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    for dtype in (torch.float32, torch.float16):
        additive = to_additive(bound, dtype, fill="finfo.min")
        assert torch.equal(additive == 0, torch.from_numpy(bound.dense()))
        assert torch.equal(additive == torch.finfo(dtype).min, ~torch.from_numpy(bound.dense()))


def test_the_danger_of_finfo_min_is_as_documented():
    bound = mw.empty().bind(1, 5)
    scores = torch.tensor([3.0, -1.0, 2.0, 9.0, 0.0])
    assert torch.allclose(torch.softmax(scores + to_additive(bound, fill="finfo.min"), -1), torch.tensor(0.2))
    assert torch.softmax(scores + to_additive(bound), -1).isnan().all()


def test_an_additive_mask_is_floating_point():
    with pytest.raises(ArgumentError, match=r"pass torch\.float32"):
        to_additive(mw.causal().bind(2), "float16")
    with pytest.raises(ArgumentError, match=r"floating point, got torch.int64; use to_dense"):
        to_additive(mw.causal().bind(2), torch.int64)
    with pytest.raises(ArgumentError, match=r"'-inf' or 'finfo.min', got '0'"):
        to_additive(mw.causal().bind(2), fill="0")
