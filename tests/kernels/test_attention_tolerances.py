"""No implementation errs more than twice as much as SDPA on the same input and dtype, plus a few last places."""

import math
from collections.abc import Callable
from functools import lru_cache

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


class Case:
    """Inputs of one shape and dtype; attention and its gradients in float64, and SDPA's in that dtype."""

    def __init__(self, mask: mw.Mask, shape: str, dtype: torch.dtype, backward: bool = True) -> None:
        q_len, kv_len, q_start, heads, kv_heads, dim, size = SHAPES[shape]
        g = torch.Generator().manual_seed(0)
        self.bound = mask.bind(q_len, kv_len, q_start=q_start)
        self.dtype, self.backward = dtype, backward
        allowed = torch.from_numpy(self.bound.dense())
        q, k, v, towards = (
            torch.randn(1, h, n, dim, generator=g)
            for h, n in ((heads, q_len), (kv_heads, kv_len), (kv_heads, kv_len), (heads, q_len))
        )
        self.inputs = q * size, k, v
        # apart: what SDPA makes of empty rows is its own affair
        self.empty = torch.from_numpy(self.bound.empty_rows()).unsqueeze(-1)
        self.towards = towards.masked_fill(self.empty, 0.0)

        def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            k, v = (x.repeat_interleave(heads // kv_heads, 1) for x in (k, v))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)

        self.exact, self.theirs = self.results(sdpa, torch.float64), self.results(sdpa, dtype)

    def results(self, attend: Attend, at: torch.dtype) -> list[torch.Tensor]:
        """The output and, with `backward`, the three gradients."""
        leaves = [x.to(self.dtype).to(at).requires_grad_(self.backward) for x in self.inputs]
        out = attend(*leaves)
        results = [out.detach().masked_fill(self.empty, 0.0)]
        if self.backward:
            results += torch.autograd.grad(out, leaves, self.towards.to(self.dtype).to(at))
        return [x.double() for x in results]

    def check(self, impl: str) -> None:
        """Assert that `impl` errs at most twice as much as SDPA."""
        ours = self.results(lambda q, k, v: mw.attention(q, k, v, self.bound, impl=impl), self.dtype)
        few = 4 * torch.finfo(self.dtype).eps
        for name, truth, a, b in zip(("out", "d_q", "d_k", "d_v"), self.exact, ours, self.theirs, strict=False):
            assert (a - truth).abs().max() <= 2 * (b - truth).abs().max() + few * truth.abs().max(), name
            most = 2 * (b - truth).norm() + few * math.sqrt(truth.numel()) * truth.abs().mean()
            assert (a - truth).norm() <= most, name


# What an implementation is measured by is computed once for all of them: their cases follow each other.
@lru_cache(maxsize=1)
def case(name: str, shape: str, dtype: torch.dtype) -> Case:
    return Case(MASKS[name], shape, dtype)


@pytest.mark.parametrize("impl", ["reference", "sdpa", "tiled"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MASKS)
def test_errors_are_within_twice_those_of_sdpa(name: str, shape: str, dtype: torch.dtype, impl: str):
    if impl == "tiled" and shape == "decode, one key head" and not _native.available(torch.float32):
        pytest.skip("without a C compiler: bmm of four rows errs up to five times as much as SDPA's own sums")
    case(name, shape, dtype).check(impl)


@pytest.mark.slow
@pytest.mark.skipif(
    _flex._no_cpu_kernel() is not None, reason=f"FlexAttention cannot run here: {_flex._no_cpu_kernel()}"
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_flexattentions_errors_too(dtype: torch.dtype):
    for name in ("window", "empty rows"):  # one class of shapes: compiled once
        Case(MASKS[name], "sharp", dtype, backward=False).check("flex")
