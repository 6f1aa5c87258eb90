"""SDPA's arguments mean the mask, and no dense mask is made where none is needed."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

import maskwork as mw
from helpers.strategies import Case, cases, grids
from maskwork.lower import to_sdpa


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
