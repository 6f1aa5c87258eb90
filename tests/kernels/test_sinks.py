"""Sinks from output and log-sum-exp: the identities that hold for any numbers."""

import math

import torch

from maskwork.kernels._sinks import add_sinks


def test_a_sink_of_minus_infinity_is_none():
    lse = torch.tensor([[[0.5, -math.inf]]], requires_grad=True)
    out = torch.tensor([[[[2.0], [0.0]]]], requires_grad=True)
    sinks = torch.tensor([-math.inf], requires_grad=True)
    new_out, new_lse = add_sinks(out, lse, sinks)
    assert torch.equal(new_out, out)
    assert torch.equal(new_lse, lse)
    (new_out.sum() + new_lse[..., 0].sum()).backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (out, lse, sinks))


def test_a_row_without_keys_has_the_sinks_log_sum_exp_and_its_gradient():
    lse = torch.full((1, 2, 1), -math.inf)
    sinks = torch.tensor([0.25, -3.0], requires_grad=True)
    out, new_lse = add_sinks(torch.zeros(1, 2, 1, 3), lse, sinks)
    assert (out == 0).all()
    assert torch.equal(new_lse.flatten(), sinks)
    new_lse.sum().backward()
    assert sinks.grad.tolist() == [1.0, 1.0]


def test_the_output_keeps_its_dtype_and_sinks_may_have_another():
    out, lse = add_sinks(torch.ones(1, 1, 1, 2, dtype=torch.bfloat16), torch.zeros(1, 1, 1), torch.zeros(1).double())
    assert out.dtype == torch.bfloat16
    assert lse.dtype == torch.float32
    assert out.flatten().tolist() == [0.5, 0.5]
