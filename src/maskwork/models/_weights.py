"""Weights as safetensors files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..data import temporary_beside
from ..errors import CheckpointError


def save_weights(model: torch.nn.Module, path: Path | str) -> None:
    """Write the parameters to `path` (safetensors); an interrupted write leaves the old file as it was."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with temporary_beside(Path(path)) as temporary:
        save_file(tensors, temporary)


def load_weights(model: torch.nn.Module, path: Path | str) -> None:
    """Read `path` into `model`; every tensor must be there, with the right shape, and nothing else.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model. The model is then unchanged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"weights are read from a file, found none at {path}; train first, or check the path")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"weights must be a whole safetensors file, {path} is damaged ({error}); train again or restore a copy"
        ) from None
    wanted = model.state_dict()
    for name in sorted(set(wanted) ^ set(tensors)):
        side = "lacks" if name in wanted else "has an unknown"
        raise CheckpointError(
            f"weights must fit the model, {path} {side} tensor {name!r}; use the run's own config.json"
        )
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"weights must fit the model, {name!r} in {path} is {tuple(tensor.shape)} where the model has "
                f"{tuple(wanted[name].shape)}; use the run's own config.json"
            )
    model.load_state_dict(tensors)
