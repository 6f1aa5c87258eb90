"""A model from a folder that the user names: a run of `maskwork train`, or a Hugging Face model.

Only JSON and safetensors are read, never a pickle, never code that lies beside them, and nothing is fetched.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import ArgumentError
from ...hf import OpenedModel, check_weight_files, open_folder, read_config
from ...training import RunFolder
from .. import _limits as limits

#: Name, time and size of each file of a folder.
Stamp = tuple[tuple[str, int, int], ...]


def load(folder: Path) -> OpenedModel:
    """Return the model in this folder.

    Raises:
        ArgumentError, RunError, CheckpointError: the folder holds none that can be read; one line says why.
    """
    config = read_config(folder, limits.MAX_CONFIG)
    check_weight_files(folder, limits.MODEL_BYTES)
    return open_folder(folder, config) if "model_type" in config else RunFolder.open(folder).open_model()


def resolve_folder(text: str) -> Path:
    """Return the folder that a user typed, made absolute; raise `ArgumentError` where it holds no config.json."""
    try:
        folder = Path(text).expanduser().resolve(strict=True)
        is_model = (folder / "config.json").is_file()
    except (OSError, ValueError, RuntimeError):
        raise ArgumentError(
            f"a model is a folder on this machine, got nothing at {text[:200]!r}; check the path"
        ) from None
    if not is_model:
        raise ArgumentError(
            f"a model's folder holds config.json, got none in '{folder}'; give a folder of maskwork train, or of "
            "save_pretrained"
        )
    return folder


def stamp(folder: Path) -> Stamp:
    """Return names, times and sizes of the folder's files: another model in it has another stamp."""
    try:
        files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    except OSError as error:
        raise ArgumentError(f"a model's folder can be read, got '{folder}', which can't ({error.strerror})") from None
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in files)
