"""A model after an audit is as before: modes, weights, buffers, gradients, hooks, attributes and random states."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

# Weights beyond this are not copied: a forward pass that rewrites them is rare, a machine that is full is not.
_MOST_BYTES = 1 << 30

# The content of these types is restored too; types derived from them may refuse that, as outputs of transformers do.
_PLAIN = (list, dict, OrderedDict)

# Random states belong to the process and hooks to the model, so that audits in several threads wait for each other.
_LOCK = threading.RLock()


@contextmanager
def restoring(model: Any) -> Iterator[None]:
    """Restore `model` and the random generators on leaving, whatever happens inside; modules run in eval mode."""
    with _LOCK:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
        try:
            if isinstance(model, torch.nn.Module):
                with _restoring_module(model):
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
def _restoring_module(model: torch.nn.Module) -> Iterator[None]:
    modules = list(model.modules())
    modes = [module.training for module in modules]
    attributes = [(vars(module), _snapshot(vars(module))) for module in modules]
    buffers = [(b, b.clone()) for b in model.buffers()]
    parameters = list(model.parameters())
    gradients = [(p, p.grad, p.requires_grad) for p in parameters]
    small = sum(p.numel() * p.element_size() for p in parameters) <= _MOST_BYTES
    weights = [(p, p.detach().clone()) for p in parameters] if small else []
    model.eval()
    try:
        yield
    finally:
        # Attributes come first: among them are the dictionaries that hold parameters, buffers, parts and hooks.
        for current, before in attributes:
            _restore_attributes(current, before)
        for module, mode in zip(modules, modes, strict=True):  # one by one: a user may have frozen a part in eval mode
            module.training = mode
        with torch.no_grad():
            for tensor, value in (*buffers, *weights):
                if not _equal(tensor, value):
                    tensor.copy_(value)
        for parameter, gradient, requires_grad in gradients:
            parameter.grad = gradient
            parameter.requires_grad_(requires_grad)


def _snapshot(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return each attribute with a copy of its content, where it is a list or dictionary (parts, hooks, caches)."""
    return {name: (v, v.copy() if type(v) in _PLAIN else None) for name, v in attributes.items()}


def _restore_attributes(current: dict[str, Any], before: dict[str, Any]) -> None:
    for name in set(current) - set(before):
        del current[name]
    for name, (value, content) in before.items():
        current[name] = value  # the same object with its old content: a hook's handle knows its dictionary
        if type(value) is list:
            value[:] = content
        elif type(value) in _PLAIN:
            value.clear()
            value.update(content)


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether two tensors are equal, where NaN equals NaN."""
    return a.shape == b.shape and torch.equal(
        a.nan_to_num() if a.is_floating_point() else a, b.nan_to_num() if b.is_floating_point() else b
    )
