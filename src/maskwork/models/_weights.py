"""Weights as safetensors files: written atomically, read from anybody's file, and checked against the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .._shared.files import temporary_beside
from ..errors import CheckpointError


def save_weights(model: torch.nn.Module, path: Path | str) -> None:
    """Write the state dict to `path` (safetensors); an interrupted write leaves the old file as it was."""
    write_weights(weights_of(model), path)


def load_weights(model: torch.nn.Module, path: Path | str) -> None:
    """Read any safetensors file into `model`; the file must hold each tensor of the state dict, and no other.

    Values are converted to the model's dtype and device, floats to floats and integers to integers: integers read into
    floats would be a quantized model's numbers without their scale.

    Raises:
        CheckpointError: the file is missing, unreadable, or of another model. The model is then unchanged.

    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save_weights(torch.nn.Linear(2, 3), path)
    >>> load_weights(torch.nn.Linear(2, 4), path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    maskwork.errors.CheckpointError: weights must fit the model, got 'bias' of shape (3,) in ..., the model has (4,)...
    """
    tensors, _ = read_weights(path)
    put_weights(model, tensors, path)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the model's state dict, contiguous and on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def write_weights(tensors: dict[str, torch.Tensor], path: Path | str, metadata: dict[str, str] | None = None) -> None:
    """Write tensors and metadata to a safetensors file, atomically."""
    with temporary_beside(Path(path)) as temporary:
        save_file(tensors, temporary, metadata)


def read_weights(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: the file is missing or no safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"weights are read from a file, got none at {path}; train first, or check the path")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in list(file.keys())}, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"weights must be a complete safetensors file, got {path}, which is damaged or of another format ({error})"
        ) from None


def put_weights(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path | str) -> None:
    """Put the tensors into the model, or raise `CheckpointError` and leave the model unchanged."""
    state = model.state_dict()
    # All is compared before anything is copied.
    missing, unexpected = sorted(set(state) - set(tensors)), sorted(set(tensors) - set(state))
    if missing:
        raise CheckpointError(
            f"weights must fit the model, got {path} without {_listed(missing)}; use the model's own configuration"
        )
    if unexpected:
        raise CheckpointError(
            f"weights must fit the model, got {_listed(unexpected)} in {path}, which the model lacks; "
            "use the model's own configuration"
        )
    # load_state_dict would list every difference on lines of its own; one line names the first.
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            raise CheckpointError(
                f"weights must fit the model, got {name!r} of shape {tuple(tensor.shape)} in {path}, "
                f"the model has {tuple(state[name].shape)}; use the model's own configuration"
            )
        if _kind(tensor) != _kind(state[name]):
            raise CheckpointError(
                f"weights must fit the model, got {name!r} of {tensor.dtype} in {path}, the model has "
                f"{state[name].dtype}; convert the file, a quantized one by the library that wrote it"
            )
    model.load_state_dict(dict(tensors))


def _kind(tensor: torch.Tensor) -> str:
    """Return what a tensor's numbers are: floats of one width become those of another, and nothing else converts."""
    if tensor.is_complex():
        return "complex"
    return "float" if tensor.is_floating_point() else "bool" if tensor.dtype == torch.bool else "integer"


def _listed(names: list[str]) -> str:
    """Return the first name, and how many more there are."""
    return repr(names[0]) + (f" and {len(names) - 1} more tensors" if len(names) > 1 else "")
