"""Batches of tiles: views of rows and keys, and biases read for the lanes of one batch alone."""

import pytest
import torch

import maskwork as mw
from maskwork.kernels._tiled import batches as _batches

pytestmark = pytest.mark.usefixtures("tiles")


def same(mask: mw.Mask, bias: torch.Tensor | mw.PositionBias) -> None:
    g = torch.Generator().manual_seed(0)
    qkv = [torch.randn(2, heads, 150, 8, generator=g) for heads in (4, 2, 2)]
    results = []
    for impl in ("tiled", "reference"):
        leaves = [x.clone().requires_grad_() for x in qkv]
        out, lse = mw.attention(*leaves, mask, impl=impl, bias=bias, return_lse=True)
        towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        results.append([out, lse, *torch.autograd.grad(out, leaves, towards)])
    torch.testing.assert_close(*results, rtol=5e-5, atol=5e-5)


def test_a_bias_is_read_for_the_lanes_at_work_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_batches, "_BYTES", 1)  # one lane at a time
    same(mw.causal(), torch.randn(2, 4, 150, 150))
    same(mw.causal() & (mw.sliding_window(24) | mw.sinks(3)), mw.alibi(4))
