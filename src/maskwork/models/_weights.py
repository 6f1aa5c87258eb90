"""Weights as safetensors files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .._shared.checksum import tensors_crc32
from ..data import temporary_beside
from ..errors import CheckpointError

_CRC32 = "maskwork_weights_crc32"


def save_weights(model: torch.nn.Module, path: Path | str) -> None:
    """Write the parameters to `path` (safetensors); an interrupted write leaves the old file as it was."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with temporary_beside(Path(path)) as temporary:
        save_file(tensors, temporary, {_CRC32: str(tensors_crc32(tensors))})


def load_weights(model: torch.nn.Module, path: Path | str) -> None:
    """Read `path` into `model`; every tensor must be there, with the right shape, and nothing else.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model. The model is then unchanged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"weights are read from a file, found none at {path}; train first, or check the path")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            crc32 = (file.metadata() or {}).get(_CRC32)
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from None
    if crc32 is None:
        raise CheckpointError(
            f"weights must be a file that maskwork wrote, {path} lacks the checksum that it writes; train again, or "
            "write the file with maskwork.models.save_weights"
        )
    if crc32 != str(tensors_crc32(tensors)):
        raise _damaged(path, "its checksum does not match its tensors")
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


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"weights must be a whole safetensors file, {path} is damaged ({why}); train again or restore a copy"
    )
