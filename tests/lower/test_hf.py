"""Hugging Face's forms of a mask are the mask, asked of transformers itself."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from transformers import masking_utils

import maskwork as mw
from helpers.strategies import BATCH, Case, cases, grids
from maskwork.errors import CannotExpress
from maskwork.lower import HuggingFaceMask, to_hf

LAYERED = "causal & (sliding_window(3) | sinks(1))"


def asked(hf: HuggingFaceMask, batch: int, q_start: int, q_len: int, kv_len: int) -> torch.Tensor:
    """The mask function on broadcast indices, as transformers' masks without vmap ask it."""
    index = (torch.arange(batch), torch.arange(1), torch.arange(q_len) + q_start, torch.arange(kv_len))
    shaped = [x.reshape([-1 if i == axis else 1 for i in range(4)]) for axis, x in enumerate(index)]
    return hf.mask_function(*shaped).expand(batch, 1, q_len, kv_len)


@given(cases, grids())
def test_all_forms_are_the_mask(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    bound = case.mask.bind(q_len, kv_len, q_start=q_start, batch=BATCH)
    dense = torch.from_numpy(bound.dense())
    hf = to_hf(bound)
    assert torch.equal(hf.allowed, dense)
    assert torch.equal(hf.additive(torch.bfloat16) == 0, dense)
    assert torch.equal(hf.additive() == torch.finfo(torch.float32).min, ~dense)
    assert torch.equal(hf.additive(fill="-inf") == -torch.inf, ~dense)
    if dense.shape[1] == 1:
        assert torch.equal(asked(hf, BATCH, *grid), dense.expand(BATCH, -1, -1, -1))
    else:
        with pytest.raises(CannotExpress, match="head 0 alone"):
            asked(hf, BATCH, *grid)


def test_a_key_beyond_the_grid_is_hidden_and_a_query_beyond_it_is_an_error():
    mask_function = to_hf(mw.full().bind(3, 5, q_start=2)).mask_function
    zero = torch.tensor(0)
    assert mask_function(zero, zero, torch.tensor(4), torch.tensor(4))
    assert not mask_function(zero, zero, torch.tensor(4), torch.tensor(5))
    for q in (1, 5):
        with pytest.raises(IndexError):
            mask_function(zero, zero, torch.tensor(q), torch.tensor(0))


def test_heads_that_differ_have_no_mask_function():
    bound = mw.causal().bind(4)
    heads = mw.BoundMask(bound.mask, bound.grid, bound.spans.expand((1, 2, 4)))
    assert to_hf(heads).allowed.shape == (1, 2, 4, 4)
    with pytest.raises(CannotExpress, match="head 0 alone"):
        _ = to_hf(heads).mask_function


@settings(max_examples=30)
@given(cases, grids())
def test_transformers_mask_factories_take_it(case: Case, grid: tuple[int, int, int]):
    q_start, q_len, kv_len = grid
    if not q_len or not kv_len:
        return
    hf = to_hf(case.mask.bind(q_len, kv_len, q_start=q_start))
    if hf.allowed.shape[1] > 1:
        return  # transformers asks about head 0 alone
    dense = case.dense(*grid)[:, :1]  # heads of which none differs
    for use_vmap in (False, True):
        made = masking_utils.sdpa_mask(
            BATCH, q_len, kv_len, q_start, mask_function=hf.mask_function, allow_is_causal_skip=False, use_vmap=use_vmap
        )
        assert np.array_equal(made.numpy(), np.broadcast_to(dense, made.shape))
    eager = masking_utils.eager_mask(BATCH, q_len, kv_len, q_start, mask_function=hf.mask_function)
    assert torch.equal(eager, hf.additive().expand(eager.shape))


def llama(attn_implementation: str) -> transformers.LlamaForCausalLM:
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, attn_implementation=attn_implementation,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("left", [1, 3])
@torch.no_grad()
def test_an_eager_model_with_padding_on_the_left_has_no_nan_in_real_rows(left: int):
    model, ids = llama("eager"), torch.randint(32, (2, 6))
    marks = torch.arange(6) >= torch.tensor([[left], [0]])
    positions = (marks.cumsum(1) - 1).clamp(min=0)
    want = model(ids, attention_mask=marks.long(), position_ids=positions).logits
    hf = to_hf((mw.causal() & mw.real(marks)).bind(6))
    got = model(ids, attention_mask=hf.additive(model.dtype), position_ids=positions).logits
    torch.testing.assert_close(got[marks], want[marks])
    filled = model(ids, attention_mask=hf.additive(model.dtype, fill="-inf"), position_ids=positions).logits
    assert filled[marks].isnan().any()  # why the default is not -inf


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
def test_transformers_models_honour_it(attn_implementation: str):
    model = llama(attn_implementation)
    ids = torch.randint(32, (1, 8))
    hf = to_hf(mw.within(mw.parse(LAYERED), [5, 3]).bind(8))
    mask = hf.allowed if attn_implementation == "sdpa" else hf.additive()
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]])
    with torch.no_grad():
        packed = model(ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
        first = to_hf(mw.parse(LAYERED).bind(5))
        alone = model(
            ids[:, :5], attention_mask=first.allowed if attn_implementation == "sdpa" else first.additive(),
            use_cache=False,
        ).logits  # fmt: skip
    torch.testing.assert_close(packed[:, :5], alone, rtol=1e-4, atol=1e-5)
