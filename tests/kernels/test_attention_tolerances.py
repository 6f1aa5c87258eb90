"""No implementation errs more than twice as much as SDPA on the same input and dtype, plus a few last places."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import maskwork as mw
from maskwork.kernels import _flex
from maskwork.kernels._tiled import native as _native

CAUSAL = mw.causal()
MASKS = {
    "causal": CAUSAL,
    "window": CAUSAL & mw.sliding_window(24),
    "sinks": CAUSAL & (mw.sliding_window(24) | mw.sinks(3)),
    "documents": CAUSAL & mw.document([100, 1, 130, 69]),
    "globals": mw.band(20, 20) | mw.global_tokens([5, 100, 280]),
    "empty rows": CAUSAL - mw.sinks(150),
    "heads": mw.per_head([CAUSAL, mw.full(), mw.sliding_window(5), mw.band(9, 2)]),
}
#: queries, keys, first query, query heads, key heads, width, how large the queries are
SHAPES = {
    "square": (300, 300, 0, 4, 4, 32, 1.0),
    "sharp": (300, 300, 0, 4, 4, 64, 8.0),
    "chunk": (70, 300, 230, 4, 2, 33, 1.0),
    "decode": (1, 300, 299, 4, 4, 64, 1.0),
    "decode, one key head": (1, 300, 299, 4, 1, 128, 3.0),
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def errors(mask: mw.Mask, shape: str, dtype: torch.dtype, impl: str, backward: bool = True) -> None:
    """Assert it of the output and, with `backward`, of the three gradients."""
    q_len, kv_len, q_start, heads, kv_heads, dim, size = SHAPES[shape]
    g = torch.Generator().manual_seed(0)
    bound = mask.bind(q_len, kv_len, q_start=q_start)
    allowed = torch.from_numpy(bound.dense())
    q, k, v, towards = (
        torch.randn(1, h, n, dim, generator=g)
        for h, n in ((heads, q_len), (kv_heads, kv_len), (kv_heads, kv_len), (heads, q_len))
    )
    empty = torch.from_numpy(bound.empty_rows()).unsqueeze(-1)  # apart: what SDPA makes of them is its own affair
    towards = towards.masked_fill(empty, 0.0)

    def both(attend: Attend, at: torch.dtype) -> list[torch.Tensor]:
        leaves = [x.to(dtype).to(at).requires_grad_(backward) for x in (q * size, k, v)]
        out = attend(*leaves)
        found = [out.detach().masked_fill(empty, 0.0)]
        if backward:
            found += torch.autograd.grad(out, leaves, towards.to(dtype).to(at))
        return [x.double() for x in found]

    def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = (x.repeat_interleave(heads // kv_heads, 1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)

    exact, theirs = both(sdpa, torch.float64), both(sdpa, dtype)
    ours = both(lambda q, k, v: mw.attention(q, k, v, bound, impl=impl), dtype)
    for name, truth, a, b in zip(("out", "d_q", "d_k", "d_v"), exact, ours, theirs, strict=False):
        few = 4 * torch.finfo(dtype).eps
        assert (a - truth).abs().max() <= 2 * (b - truth).abs().max() + few * truth.abs().max(), name
        assert (a - truth).norm() <= 2 * (b - truth).norm() + few * math.sqrt(truth.numel()) * truth.abs().mean(), name


@pytest.mark.parametrize("impl", ["reference", "sdpa", "tiled"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MASKS)
def test_errors_are_within_twice_those_of_sdpa(name: str, shape: str, dtype: torch.dtype, impl: str):
    if impl == "tiled" and shape == "decode, one key head" and not _native.available(torch.float32):
        pytest.skip("without a C compiler: bmm of four rows errs up to five times as much as SDPA's own sums")
    errors(MASKS[name], shape, dtype, impl)


@pytest.mark.slow
@pytest.mark.skipif(
    _flex._no_cpu_kernel() is not None, reason=f"FlexAttention cannot run here: {_flex._no_cpu_kernel()}"
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_flexattentions_errors_too(dtype: torch.dtype):
    for name in ("window", "empty rows"):  # one class of shapes: compiled once
        errors(MASKS[name], "sharp", dtype, "flex", backward=False)
