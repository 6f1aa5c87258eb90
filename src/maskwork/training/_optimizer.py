"""AdamW as `TrainConfig` describes it, and its state under the names of the parameters."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import ArgumentError
from ._config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters (Loshchilov & Hutter, arXiv:1711.05101).

    Only tensors with two or more axes decay: shrinking a gain or a bias regularises nothing.

    Raises:
        ArgumentError: the model has no trainable parameter.
    """
    # Where every parameter lies on a supported device, one fused kernel updates all of them.
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ArgumentError("training needs a parameter with requires_grad, got none; unfreeze one")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        fused=all(p.device.type in ("cpu", "cuda") for p in parameters),
    )


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state as `"<parameter>:<key>"` -> tensor."""
    return {
        f"{name}:{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Load the tensors that `optimizer_tensors` returned; hyper-parameters stay those of `optimizer`."""
    by_name: dict[str, dict[str, torch.Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition(":")
        by_name.setdefault(name, {})[key] = tensor
    # torch numbers parameters in the order of its groups; names stay right where that order changes
    names = {parameter: name for name, parameter in model.named_parameters()}
    ordered = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    state = {index: by_name[name] for index, name in enumerate(ordered) if name in by_name}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
