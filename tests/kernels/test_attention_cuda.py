"""Attention's laws on a GPU: forward and backward, each implementation that runs there, and what auto takes."""

import math

import pytest
import torch
import torch.nn.functional as F

import maskwork as mw
from maskwork.errors import CannotExpress
from maskwork.nn import Attention

pytestmark = pytest.mark.cuda

IMPLS = ("reference", "sdpa", "flex")
CAUSAL = mw.causal()
MASKS = {
    "causal": CAUSAL,
    "window and sinks": CAUSAL & (mw.sliding_window(70) | mw.sinks(4)),
    "documents": CAUSAL & mw.document([100, 1, 130, 69]),
    "globals": mw.band(20, 20) | mw.global_tokens([5, 100, 280]),
    "empty rows": CAUSAL - mw.sinks(150),
    "padding": CAUSAL & mw.padding([300, 170]),
    "heads": mw.per_head([CAUSAL, mw.full(), mw.sliding_window(5), mw.empty()]),
    "nothing": mw.empty(),
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Tensors = list[torch.Tensor]


def tensors(q_len: int = 300, kv_len: int = 300, *, kv_heads: int = 2, dtype: torch.dtype = torch.float32) -> Tensors:
    g = torch.Generator().manual_seed(0)
    shapes = ((2, 4, q_len, 32), (2, kv_heads, kv_len, 32), (2, kv_heads, kv_len, 32))
    return [torch.randn(shape, generator=g).to(dtype).cuda() for shape in shapes]


def outcome(impl: str, qkv: Tensors, mask: mw.Mask | mw.BoundMask, **kw: object) -> Tensors:
    """Output and gradients, in float64 on the CPU."""
    leaves = [x.detach().clone().requires_grad_() for x in qkv]
    out = mw.attention(*leaves, mask, impl=impl, **kw)
    assert out.device.type == "cuda"
    assert out.dtype == qkv[0].dtype
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [x.double().cpu() for x in (out.detach(), *torch.autograd.grad(out, leaves, towards))]


def same(impl: str, qkv: Tensors, mask: mw.Mask | mw.BoundMask, **kw: object) -> None:
    # tensor cores may multiply float32 as TF32, with 10 bits of mantissa, as float16 has; bfloat16 has 7
    tolerance = 5e-2 if qkv[0].dtype == torch.bfloat16 else 1e-2
    wanted = outcome("reference", [x.double() for x in qkv], mask, **kw)
    for ours, theirs in zip(outcome(impl, qkv, mask, **kw), wanted, strict=True):
        size = float(theirs.abs().max()) if theirs.numel() else 0.0
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, size))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MASKS)
def test_forward_and_backward_match_the_reference(name: str, dtype: torch.dtype, impl: str):
    same(impl, tensors(dtype=dtype), MASKS[name])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("impl", ["sdpa", "flex"])
@pytest.mark.parametrize("name", ["causal", "window and sinks", "documents", "globals"])
def test_errors_are_within_twice_those_of_sdpa(name: str, impl: str, dtype: torch.dtype):
    qkv = tensors(kv_heads=4, dtype=dtype)
    bound = MASKS[name].bind(300)
    towards = torch.randn(qkv[0].shape, generator=torch.Generator().manual_seed(2)).to(qkv[0])

    def both(attend, at: torch.dtype) -> Tensors:
        leaves = [x.to(at).requires_grad_() for x in qkv]
        out = attend(*leaves)
        return [out.detach().double(), *(g.double() for g in torch.autograd.grad(out, leaves, towards.to(at)))]

    def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mw.lower.to_dense(bound, "cuda"))

    exact, theirs = both(sdpa, torch.float64), both(sdpa, dtype)
    ours = both(lambda q, k, v: mw.attention(q, k, v, bound, impl=impl), dtype)
    for truth, a, b in zip(exact, ours, theirs, strict=True):
        few = 4 * torch.finfo(dtype).eps * truth.abs().max()
        assert (a - truth).abs().max() <= 2 * (b - truth).abs().max() + few


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("q_len", "q_start"), [(1, 299), (70, 230), (130, 100), (0, 300)])
def test_decoding_and_chunks_of_a_prefill(q_len: int, q_start: int, impl: str):
    same(impl, tensors(q_len), MASKS["window and sinks"], q_start=q_start)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_heads_and_other_strides(kv_heads: int, impl: str):
    qkv = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in tensors(kv_heads=kv_heads)]
    same(impl, qkv, MASKS["documents"], scale=0.3)


@pytest.mark.parametrize("impl", IMPLS)
def test_empty_rows_are_zero_with_zero_gradient(impl: str):
    out, d_q, d_k, d_v = outcome(impl, tensors(), MASKS["empty rows"])
    assert (out[:, :, :150] == 0).all()
    assert (d_q[:, :, :150] == 0).all()
    assert (d_k[:, :, :150] == 0).all()
    assert all(x.isfinite().all() for x in (d_q, d_k, d_v))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_poison_that_no_row_may_see_changes_nothing(bad: float, impl: str):
    q, k, v = tensors()
    clean = outcome(impl, [q, k, v], MASKS["empty rows"])
    q[:, :, :150], k[:, :, :150], v[:, :, :150] = bad, bad, bad
    for a, b in zip(outcome(impl, [q, k, v], MASKS["empty rows"]), clean, strict=True):
        torch.testing.assert_close(a, b)


def test_log_sum_exp_is_minus_infinity_on_an_empty_row_and_merges():
    q, k, v = tensors()
    for name in ("empty rows", "nothing"):
        _, lse = mw.attention(q, k, v, MASKS[name], impl="flex", return_lse=True)
        _, wanted = mw.attention(q, k, v, MASKS[name], impl="reference", return_lse=True)
        torch.testing.assert_close(lse, wanted.to(lse.dtype), rtol=1e-2, atol=1e-2)
        assert (lse[:, :, :150] == -math.inf).all()


def test_more_lengths_than_dynamo_takes_for_sensible():
    for length in range(130, 130 + torch._dynamo.config.recompile_limit + 2):
        same("flex", tensors(length, length), MASKS["window and sinks"])


def test_auto_takes_flex_for_large_masks_and_explains():
    q, k, v = (x[:1] for x in tensors(4096, 4096, dtype=torch.bfloat16))
    plan = mw.plan(q, k, v, MASKS["window and sinks"])
    assert plan.impl == "flex"
    assert set(plan.why_not) == {"tiled", "sdpa", "reference"}
    assert "are for the CPU" in plan.why_not["tiled"]
    assert mw.plan(q, k, v, CAUSAL).impl == "sdpa"
    assert mw.plan(*tensors(), MASKS["window and sinks"]).impl == "sdpa"
    same("auto", [q, k, v], MASKS["window and sinks"])
    with pytest.raises(CannotExpress, match="are for the CPU"):
        mw.attention(q, k, v, CAUSAL, impl="tiled")


def test_a_bound_mask_serves_both_devices():
    bound = MASKS["documents"].bind(300)
    qkv = tensors()
    there = mw.attention(*qkv, bound, impl="sdpa")
    here = mw.attention(*(x.cpu() for x in qkv), bound, impl="sdpa")
    torch.testing.assert_close(there.cpu(), here, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_biases(impl: str):
    same(impl, tensors(), MASKS["documents"], bias=mw.alibi(4))
    table = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)).cuda().requires_grad_()
    bias = mw.relative_bias(table, bidirectional=True)
    mw.attention(*tensors(), MASKS["documents"], bias=bias, impl=impl).sum().backward()
    assert table.grad.isfinite().all()


def test_a_precomputed_mask_moves_with_its_module():
    torch.manual_seed(0)
    layer = Attention(64, 4, 2, precompute=(MASKS["window and sinks"], 512))
    x = torch.randn(2, 300, 64)
    wanted = layer(x)
    layer = layer.cuda()
    assert layer.precomputed.starts.is_cuda
    torch.testing.assert_close(layer(x.cuda()).cpu(), wanted, rtol=1e-2, atol=1e-2)
    layer(x.cuda()).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
