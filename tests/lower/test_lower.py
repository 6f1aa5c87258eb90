"""Each lowering equals `dense()` cell for cell."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

import maskwork as mw
from helpers.strategies import Case, cases, grids
from maskwork.errors import ArgumentError
from maskwork.lower import to_additive, to_dense, to_sdpa


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


@given(cases, grids())
def test_sdpa_arguments_mean_the_mask(case: Case, grid: tuple[int, int, int]):
    """Asked of SDPA itself: with one-hot values, its output says which keys each row saw."""
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start)
    arguments = to_sdpa(bound)
    if arguments["attn_mask"] is not None or not q_len or not kv_len:
        if arguments["attn_mask"] is not None:
            assert torch.equal(arguments["attn_mask"], torch.from_numpy(bound.dense()))
        return
    q, k = torch.zeros(1, 1, q_len, 4), torch.zeros(1, 1, kv_len, 4)
    seen = F.scaled_dot_product_attention(q, k, torch.eye(kv_len)[None, None], is_causal=arguments["is_causal"])
    assert (bound.dense() == (seen > 0).numpy()).all()  # every batch row and head alike


@pytest.mark.parametrize(
    ("bound", "is_causal"),
    [
        (mw.causal().bind(5), True),
        (mw.within(mw.causal(), [5]).bind(5), True),
        (mw.full().bind(3, 5), False),
        (mw.causal().bind(1, 5, q_start=4), False),
        (mw.causal().bind(3, 5, q_start=0), True),
    ],
)
def test_no_dense_mask_where_none_is_needed(bound: mw.BoundMask, is_causal: bool):
    assert to_sdpa(bound) == {"attn_mask": None, "is_causal": is_causal}


def test_is_causal_is_never_guessed():
    # bottom-right: the last two queries of five; SDPA's triangle would hide keys from them
    assert to_sdpa(mw.causal().bind(2, 5, q_start=3))["attn_mask"] is not None
    # the first row is empty: SDPA without a mask would let it see everything
    assert to_sdpa((mw.causal() - mw.sinks(1)).bind(3))["attn_mask"] is not None
    assert to_sdpa(mw.empty().bind(3))["attn_mask"] is not None


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
