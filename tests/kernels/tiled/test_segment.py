"""PyTorch's fused CPU operator has traps: each is shown on the operator itself, so that it is known to be there, and
then on attention, which must not fall in. The masks are long enough for the operator to be what runs inside."""

import math
import platform
import signal
import subprocess
import sys

import pytest
import torch

import maskwork as mw
from maskwork.kernels._tiled.schedule import read_schedule, to_tiles

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
LENGTH = 2100
CAUSAL = mw.causal()
PREFIX = CAUSAL | mw.prefix(1030)  # a rectangle and a triangle, merged by their log-sum-exp
IMPLS = ("reference", "sdpa", "tiled")


def tensors(q_len: int = LENGTH, kv_len: int = LENGTH, **kw: object) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(1, 2, n, 8, generator=g, **kw) for n in (q_len, kv_len, kv_len)]


def outcome(impl: str, qkv: list[torch.Tensor], mask: mw.Mask, **kw: object) -> list[torch.Tensor]:
    leaves = [x.clone().requires_grad_() for x in qkv]
    out = mw.attention(*leaves, mask, impl=impl, **kw)
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad(out, leaves, towards.to(out.dtype))]


def uses_the_operator(mask: mw.Mask, q_len: int = LENGTH, kv_len: int = LENGTH, q_start: int = 0) -> bool:
    return bool(read_schedule(to_tiles(mask.bind(q_len, kv_len, q_start=q_start))).segments)


def test_an_empty_row_has_a_log_sum_exp_of_minus_infinity():
    q, k, v = tensors(4, 4)
    nothing = torch.zeros(1, 1, 4, 4)
    nothing[:, :, 2] = -math.inf
    assert (flash(q, k, v, 0.0, False, attn_mask=nothing)[1][:, :, 2] == 0).all()  # the trap: exp(0) would count
    mask = PREFIX - mw.custom(lambda b, h, q, k: q == 1200, name="query 1200")
    assert uses_the_operator(mask)
    qkv = tensors()
    out, lse = mw.attention(*qkv, mask, impl="tiled", return_lse=True)
    wanted, wanted_lse = mw.attention(*qkv, mask, impl="reference", return_lse=True)
    assert (lse[:, :, 1200] == -math.inf).all()
    assert (out[:, :, 1200] == 0).all()
    torch.testing.assert_close((out, lse), (wanted, wanted_lse), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("q_len", "kv_len"), [(0, 4), (4, 0), (0, 0)])
def test_no_query_and_no_key_do_not_kill_the_process(q_len: int, kv_len: int):
    for impl in IMPLS:
        qkv = tensors(q_len, kv_len)
        out, *grads = outcome(impl, qkv, mw.causal(), q_start=0)
        assert out.shape == (1, 2, q_len, 8)
        assert (out == 0).all()
        assert [grad.shape for grad in grads] == [x.shape for x in qkv]
        assert all((grad == 0).all() for grad in grads)


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="other processors divide by 0 and go on"
)
def test_no_key_kills_the_process_of_who_calls_the_operator():
    code = "import torch; q, k = torch.ones(1, 1, 4, 8), torch.ones(1, 1, 0, 8); "
    code += "torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, k, 0.0, False)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGFPE  # no exception that could be caught


@pytest.mark.parametrize("impl", IMPLS)
def test_dropout_and_bool_masks_are_refused_there_and_not_here(impl: str):
    q, k, v = tensors(4, 4)
    with pytest.raises(RuntimeError, match="dropout"):
        flash(q, k, v, 0.5, False)
    with pytest.raises(RuntimeError, match="same data type"):
        flash(q, k, v, 0.0, False, attn_mask=torch.ones(1, 1, 4, 4, dtype=torch.bool))
    assert uses_the_operator(PREFIX)
    ones = torch.ones(1, 2, LENGTH, 8)
    torch.manual_seed(0)
    out = mw.attention(torch.zeros_like(ones), ones, ones, PREFIX, dropout_p=0.5, impl=impl)
    assert abs(out.mean() - 1) < 0.01
    assert out.var(-1).max() < 1e-6  # one coin a weight, whatever the column of v
    assert out[..., 0].std() > 0.01


@pytest.mark.parametrize("mask", [PREFIX, CAUSAL])
@pytest.mark.parametrize("which", [1, 2])
def test_a_nan_in_a_masked_key_or_value_reaches_the_rows_that_see_it_alone(which: int, mask: mw.Mask):
    assert uses_the_operator(mask)
    qkv = [x[..., :2].contiguous() for x in tensors()]  # the reference spreads a poisoned product out per cell
    qkv[which][:, :, 1400] = math.nan
    later = torch.full((20, 20), -math.inf).triu(1)[None, None]
    theirs = flash(*(x[:, :, 1390:1410] for x in qkv), 0.0, False, attn_mask=later)[0]
    assert theirs[:, :, :10].isnan().any()  # the trap: rows before the key
    for impl in ("reference", "tiled"):
        out = mw.attention(*qkv, mask, impl=impl)
        assert out[:, :, :1400].isfinite().all()
        assert out[:, :, 1400:].isnan().all(-1).all()


@pytest.mark.parametrize(("q_len", "q_start"), [(1100, LENGTH - 1100), (1100, 900), (LENGTH, 0), (1, LENGTH - 1)])
@pytest.mark.parametrize("mask", [PREFIX, CAUSAL])
def test_is_causal_is_top_left_there_and_absolute_here(mask: mw.Mask, q_len: int, q_start: int):
    q, k, v = tensors(2, 5)
    theirs = flash(q, k, v, 0.0, True)[0]
    top_left = mw.attention(q, k, v, mw.causal(), q_start=0, impl="reference")
    torch.testing.assert_close(theirs, top_left, rtol=1e-4, atol=1e-5)  # the trap: also where 3 was meant
    assert not torch.allclose(theirs, mw.attention(q, k, v, mw.causal(), q_start=3), atol=1e-2)
    assert uses_the_operator(mask, q_len, LENGTH, q_start) == (q_len > 1)
    qkv = tensors(q_len)
    wanted = outcome("reference", qkv, mask, q_start=q_start)
    for impl in ("sdpa", "tiled"):
        for a, b in zip(outcome(impl, qkv, mask, q_start=q_start), wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_more_queries_than_keys():
    qkv = tensors(LENGTH, 1100)
    for q_start in (0, 300):
        ours, wanted = (outcome(impl, qkv, PREFIX, q_start=q_start) for impl in ("tiled", "reference"))
        for a, b in zip(ours, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
