"""Leaves a model as it was found: modes, weights, buffers, gradients, hooks and random states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

#: Weights beyond this are not copied: a forward pass that rewrites them is rare, a machine that is full is not.
_MOST_BYTES = 1 << 30


@contextmanager
def as_found(model: Any) -> Iterator[None]:
    """Whatever happens inside, `model` and the random generators come out as they went in; modules run in eval mode."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    try:
        if isinstance(model, torch.nn.Module):
            with _module_as_found(model):
                yield
        else:
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def _module_as_found(model: torch.nn.Module) -> Iterator[None]:
    modules = list(model.modules())
    modes = [module.training for module in modules]
    buffers = [
        (m, dict(m._buffers), {n: None if b is None else b.clone() for n, b in m._buffers.items()}) for m in modules
    ]
    parameters = list(model.parameters())
    gradients = [(p, p.grad, p.requires_grad) for p in parameters]
    small = sum(p.numel() * p.element_size() for p in parameters) <= _MOST_BYTES
    weights = [p.detach().clone() for p in parameters] if small else []
    model.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):  # one by one: a user may have frozen a part in eval mode
            module.training = mode
        with torch.no_grad():
            for module, tensors, values in buffers:
                for name in set(module._buffers) - set(tensors):
                    del module._buffers[name]
                for name, tensor in tensors.items():
                    module._buffers[name] = tensor
                    if tensor is not None and not _same(tensor, values[name]):
                        tensor.copy_(values[name])
            for parameter, value in zip(parameters if small else [], weights, strict=True):
                if not _same(parameter, value):
                    parameter.copy_(value)
        for parameter, gradient, wanted in gradients:
            parameter.grad = gradient
            parameter.requires_grad_(wanted)


def _same(a: torch.Tensor, b: Any) -> bool:
    """Equal, where NaN equals NaN."""
    return a.shape == b.shape and torch.equal(
        a.nan_to_num() if a.is_floating_point() else a, b.nan_to_num() if b.is_floating_point() else b
    )
