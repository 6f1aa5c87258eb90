"""Attention's laws on every implementation, against a float64 oracle written row by row."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwork as mw
from helpers.strategies import BATCH, LENGTH, Case, cases, grids
from maskwork.errors import ArgumentError, GridError, MaskError

IMPLS = ("reference", "sdpa", "tiled")


def oracle(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, allowed: np.ndarray) -> torch.Tensor:
    """Row by row, in float64, over the allowed keys alone."""
    groups = q.shape[1] // k.shape[1]
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=torch.float64)
    allowed = np.broadcast_to(allowed, (q.shape[0], q.shape[1], q.shape[2], k.shape[2]))
    for b, h, i in np.ndindex(*q.shape[:3]):
        keys = np.flatnonzero(allowed[b, h, i])
        if len(keys):
            scores = k[b, h // groups, keys].double() @ q[b, h, i].double() / math.sqrt(q.shape[-1])
            out[b, h, i] = torch.softmax(scores, 0) @ v[b, h // groups, keys].double()
    return out


def tensors(q_len: int, kv_len: int, heads: int = 4, kv_heads: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    q = torch.randn(BATCH, heads, q_len, 8, generator=g)
    k, v = (torch.randn(BATCH, kv_heads, kv_len, 8, generator=g) for _ in range(2))
    return q, k, v


@settings(max_examples=80)
@given(cases, grids(), st.sampled_from(IMPLS))
def test_matches_the_oracle(case: Case, grid: tuple[int, int, int], impl: str):
    q_start, q_len, kv_len = grid
    q, k, v = tensors(q_len, kv_len)
    out = mw.attention(q, k, v, case.mask, q_start=q_start, impl=impl)
    expected = oracle(q, k, v, case.dense(*grid))
    # float32: 12 terms of size about 1 each rounded at 2**-24, with a wide margin
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", IMPLS)
def test_empty_rows_are_zero_with_zero_gradient(impl: str):
    q, k, v = (x.requires_grad_() for x in tensors(LENGTH, LENGTH))
    mask = mw.causal() - mw.sinks(3)  # the first three queries see nothing
    out = mw.attention(q, k, v, mask, impl=impl)
    assert (out[:, :, :3] == 0).all()
    out.sum().backward()
    assert (q.grad[:, :, :3] == 0).all()
    assert (k.grad[:, :, :3] == 0).all()
    for x in (q, k, v):
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_in_a_key_that_no_row_sees_changes_nothing(impl: str, bad: float):
    q, k, v = tensors(LENGTH, LENGTH)
    mask = mw.full() - (mw.prefix(5) - mw.prefix(4))
    clean = mw.attention(q, k, v, mask, impl=impl)
    k[:, :, 4], v[:, :, 4] = bad, bad
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    out = mw.attention(q, k, v, mask, impl=impl)
    assert torch.equal(out, clean)
    out.sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


@pytest.mark.parametrize("mask", ["causal", "full", "causal & sliding_window(3)", "causal - sinks(2)"])
def test_gradients_match_the_reference(mask: str):
    grads = []
    for impl in IMPLS:
        q, k, v = (x.requires_grad_() for x in tensors(LENGTH, LENGTH))
        mw.attention(q, k, v, mw.parse(mask), impl=impl).square().sum().backward()
        grads.append((q.grad, k.grad, v.grad))
    for others in grads[1:]:
        torch.testing.assert_close(grads[0], others, rtol=1e-4, atol=1e-5)


def test_log_sum_exp():
    q, k, v = tensors(LENGTH, LENGTH)
    out, lse = mw.attention(q, k, v, mw.causal() - mw.sinks(1), return_lse=True)
    scores = (q.double() @ k.double().repeat_interleave(2, 1).mT) / math.sqrt(8)
    allowed = torch.tensor((mw.causal() - mw.sinks(1)).bind(LENGTH).dense())
    expected = scores.masked_fill(~allowed, -math.inf).logsumexp(-1)
    assert (lse[:, :, 0] == -math.inf).all()
    torch.testing.assert_close(lse.double(), expected, rtol=1e-6, atol=1e-6)
    assert out.shape == q.shape


@pytest.mark.parametrize("impl", IMPLS)
def test_bias_is_added_to_the_scores(impl: str):
    q, k, v = tensors(LENGTH, LENGTH)
    bias = torch.randn(4, LENGTH, LENGTH, generator=torch.Generator().manual_seed(1))
    out = mw.attention(q, k, v, mw.causal(), bias=bias, impl=impl)
    scores = (q.double() @ k.double().repeat_interleave(2, 1).mT) / math.sqrt(8) + bias.double()
    allowed = torch.tensor(mw.causal().bind(LENGTH).dense())
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1)
    torch.testing.assert_close(out.double(), weights @ v.double().repeat_interleave(2, 1), rtol=1e-5, atol=1e-5)


def test_bad_arguments_say_rule_finding_and_mend():
    q, k, v = tensors(6, 9)
    with pytest.raises(GridError, match="q_start=3"):
        mw.attention(q, k, v, mw.causal())
    with pytest.raises(ArgumentError, match="maskwork mask"):
        mw.attention(q, k, v, torch.ones(6, 9, dtype=torch.bool))
    with pytest.raises(ArgumentError, match="q_start belongs to a Mask"):
        mw.attention(q, k, v, mw.full().bind(6, 9), q_start=0)
    with pytest.raises(GridError, match="must match"):
        mw.attention(q, k, v, mw.full().bind(6, 8))
    with pytest.raises(ArgumentError, match="multiple"):
        mw.attention(q[:, :3], k, v)
    with pytest.raises(ArgumentError, match="length comes after heads"):
        mw.attention(q, k, v[..., :5, :])
    with pytest.raises(ArgumentError, match="floating"):
        mw.attention(q.int(), k, v)
    with pytest.raises(ArgumentError, match="impl must be one of"):
        mw.attention(q, k, v, impl="flash")
    with pytest.raises(GridError, match="the batch must match"):
        mw.attention(q, k, v, mw.padding([1, 2]))
    with pytest.raises(MaskError, match="no truth value"):
        bool(mw.causal() and mw.sinks(2))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("mask", ["causal & sliding_window(3)", "causal - sinks(2)", "full - sinks(1)"])
def test_a_mask_evaluated_with_can_be_trained_with(impl: str, mask: str):
    bound = mw.parse(mask).bind(LENGTH)
    q, k, v = tensors(LENGTH, LENGTH)
    with torch.inference_mode():
        before = mw.attention(q, k, v, bound, impl=impl)
    out = mw.attention(q.requires_grad_(), k, v, bound, impl=impl)
    out.sum().backward()
    assert torch.equal(before, out)


def test_a_bound_mask_lowers_once(monkeypatch: pytest.MonkeyPatch):
    from maskwork.lower import _dense

    painted = []
    paint = _dense._paint
    monkeypatch.setattr(_dense, "_paint", lambda b, device: painted.append(b) or paint(b, device))
    q, k, v = tensors(LENGTH, LENGTH)
    bound = (mw.causal() & mw.sliding_window(3)).bind(LENGTH)
    for _ in range(32):
        mw.attention(q, k, v, bound)
    assert len(painted) == 1


@pytest.mark.parametrize("impl", IMPLS)
def test_nan_in_a_query_that_sees_nothing_reaches_no_gradient(impl: str):
    q, k, v = tensors(LENGTH, LENGTH)
    q[:, :, 0] = math.nan
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    out = mw.attention(q, k, v, mw.causal() - mw.sinks(1), impl=impl)
    assert (out[:, :, 0] == 0).all()
    out.sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))
    assert (q.grad[:, :, 0] == 0).all()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_strange_bias_at_a_forbidden_cell_changes_nothing(impl: str, bad: float):
    q, k, v = tensors(LENGTH, LENGTH)
    bias = torch.zeros(LENGTH, LENGTH)
    clean = mw.attention(q, k, v, mw.causal(), bias=bias, impl=impl)
    bias = bias.masked_fill(torch.ones(LENGTH, LENGTH).triu(1).bool(), bad)
    assert torch.equal(mw.attention(q, k, v, mw.causal(), bias=bias, impl=impl), clean)


@pytest.mark.parametrize("impl", IMPLS)
def test_empty_batches_and_missing_widths(impl: str):
    q, k, v = (x[:0] for x in tensors(LENGTH, LENGTH))
    assert mw.attention(q, k, v, mw.causal() & mw.sliding_window(2), impl=impl).shape == q.shape
    with pytest.raises(ArgumentError, match="head_dim"):
        mw.attention(*(x[..., :0] for x in tensors(LENGTH, LENGTH)), mw.causal(), impl=impl)
    with pytest.raises(ArgumentError, match="bias must be a tensor"):
        mw.attention(*tensors(LENGTH, LENGTH), mw.causal(), bias=1.0, impl=impl)


def test_what_a_caller_does_to_a_lowering_does_not_reach_the_mask():
    bound = (mw.causal() & mw.sliding_window(2)).bind(LENGTH)
    mw.lower.to_sdpa(bound)["attn_mask"] = None
    assert mw.lower.to_sdpa(bound)["attn_mask"] is not None
