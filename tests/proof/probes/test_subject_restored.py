"""A model after an audit is as before: states, attributes, hooks and modes, whatever a forward pass does."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

import maskwork as mw
from helpers.wrapped_specimen import WrappedSpecimen
from maskwork.proof.zoo import WIDTH, Functional, Specimen, seeded, tokens

IDS = tokens(24, 0)


def audit(model, *checks, ids=IDS):
    return mw.audit(model, ids, checks=checks)


class Counting(nn.Module):
    """Keeps a count of its calls and running statistics in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def test_the_model_is_left_as_it_was_found():
    model = seeded(lambda: Specimen(extras={0: Counting()}, dropout=0.1), 0)
    model.train()
    model.blocks[1].eval()
    model.head.bias.requires_grad_(False)
    model(IDS[None]).logits.sum().backward()
    gradient = model.norm.weight.grad.clone()
    handle = model.blocks[2].register_forward_hook(lambda module, args, out: None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    mw.audit(model, IDS, checks=["mask", "padding", "packing", "cache", "batch", "determinism"])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.norm.weight.grad, gradient)
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["head.bias"]
    handle.remove()


def test_the_model_is_left_as_it_was_found_when_it_raises():
    model = seeded(lambda: Specimen(extras={0: Functional(lambda x: x[:, :, :7])}), 0).train()
    report = mw.audit(model, IDS, checks=["mask"])
    assert report.checks["mask"].startswith("cannot run: the model raised RuntimeError")
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_training_mode_comes_back_module_by_module():
    model = nn.Sequential(nn.Embedding(61, 8), nn.Dropout(0.5), nn.Linear(8, 8))
    model[2].eval()
    mw.audit(model, IDS, checks=["mask"])
    assert model.training
    assert not model[2].training


def test_whatever_a_forward_pass_changes_is_put_back():
    def busy(model, ids, run):
        model.inner.head.weight = nn.Parameter(model.inner.head.weight.detach() * 1.0)
        model.register_buffer("seen", ids)
        model.extra = nn.Linear(2, 2)
        model.kept.append(ids)
        model.inner.head.register_forward_hook(lambda *_: None)
        return run(ids)

    model = WrappedSpecimen(busy)
    model.kept = []
    handle = model.inner.head.register_forward_hook(lambda *_: None)
    weight, names, hooks = model.inner.head.weight, list(model.state_dict()), model.inner.head._forward_hooks
    audit(model, "mask", "batch")
    assert model.inner.head.weight is weight
    assert list(model.state_dict()) == names
    assert not model.kept
    assert model.calls == 0
    assert len(hooks) == 1
    assert hooks is model.inner.head._forward_hooks
    handle.remove()
    assert not hooks


class Sealed(dict):
    def update(self, *_):
        raise RuntimeError("not to be changed")


def test_what_cannot_be_put_back_stays():
    model = WrappedSpecimen(lambda model, ids, run: run(ids))
    model.answer = Sealed(logits=1)
    assert audit(model, "batch").ok
    assert model.answer == {"logits": 1}


def test_an_interrupt_leaves_the_model_as_it_was():
    def interrupted(model, ids, run):
        if model.calls == 3:
            raise KeyboardInterrupt
        return run(ids)

    model = WrappedSpecimen(interrupted).train()
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        audit(model, "mask")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_two_audits_of_one_model_at_the_same_time():
    model, reports = seeded(lambda: Specimen(dropout=0.1), 0).train(), []
    state = torch.get_rng_state()
    threads = [
        threading.Thread(target=lambda: reports.append(audit(model, "mask", "batch", "determinism"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.ok for report in reports] == [True] * 3, [str(report) for report in reports]
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
