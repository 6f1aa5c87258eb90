"""The specification: what only the reference does, and that its gradients are derivatives."""

import math

import torch

import maskwork as mw

LENGTH = 12


def tensors(q_len: int, kv_len: int, *, dim: int = 8, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = ((2, 4, q_len, dim), (2, 2, kv_len, dim), (2, 2, kv_len, dim))
    return [torch.randn(shape, generator=g, dtype=dtype) for shape in shapes]


def test_nan_reaches_only_rows_that_see_it_in_the_reference():
    q, k, v = tensors(LENGTH, LENGTH)
    clean = mw.attention(q, k, v, mw.causal(), impl="reference")
    k[:, :, 7], v[:, :, 7] = math.nan, math.inf
    q = q.requires_grad_()
    out = mw.attention(q, k, v, mw.causal(), impl="reference")
    torch.testing.assert_close(out[:, :, :7], clean[:, :, :7])
    assert out[:, :, 7:].isnan().all()
    out[:, :, :7].sum().backward()
    assert q.grad[:, :, :7].isfinite().all()


def test_reference_gradient_is_the_derivative():
    # few numbers, of which each is moved in turn
    q, k, v = (x[:1].requires_grad_() for x in tensors(4, 5, dim=3, dtype=torch.float64))
    mask = mw.causal() & (mw.sliding_window(2) | mw.sinks(1))
    assert torch.autograd.gradcheck(
        lambda q, k, v: mw.attention(q, k, v, mask, q_start=1, impl="reference", return_lse=True), (q, k, v)
    )


def test_dropout_is_seeded_and_unbiased():
    q, k, v = tensors(LENGTH, LENGTH)
    g = torch.Generator()
    runs = [mw.attention(q, k, v, dropout_p=0.5, generator=g.manual_seed(seed), impl="reference") for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    ones = torch.ones_like(v)
    mean = torch.stack(
        [mw.attention(q, k, ones, dropout_p=0.5, generator=g.manual_seed(s), impl="reference") for s in range(200)]
    ).mean()
    assert abs(mean - 1.0) < 0.02


def test_the_references_dropout_has_correct_gradients():
    leaves = [x.requires_grad_() for x in tensors(12, 12, dim=3, dtype=torch.float64)]

    def dropped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        g = torch.Generator().manual_seed(3)
        return mw.attention(q, k, v, mw.causal() - mw.sinks(2), dropout_p=0.3, generator=g, impl="reference")

    assert torch.autograd.gradcheck(dropped, leaves, fast_mode=True)
