"""One file that continues a run: weights, optimizer state and the run's identity, written atomically.

The file is in the safetensors format. A prefix of a tensor's name says what the tensor belongs to:

    model.<name>                  weights and buffers of the model
    optimizer.<parameter>:<key>   AdamW's state
    state.<name>                  what else the next step depends on
    metadata                      one JSON object: step, tokens, identity of the run, checksum of the tensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .._shared.checksum import tensors_crc32
from .._shared.files import temporary_beside
from .._shared.numbers import is_integer
from .._shared.text import first_line
from ..errors import ArgumentError, CheckpointError
from ._optimizer import load_optimizer_tensors, optimizer_tensors

#: The layout of the file; another maskwork may write another number.
FORMAT = 1

_METADATA = "maskwork_checkpoint"
_MODEL, _OPTIMIZER, _STATE = "model.", "optimizer.", "state."


@dataclass(frozen=True)
class Progress:
    """The point that a run has reached.

    Attributes:
        step: how many steps are done.
        tokens: how many tokens were read, padding not counted.
        state: what else the next step depends on, by name: tensors such as a curriculum's measurements.
    """

    step: int
    tokens: int
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    progress: Progress,
    identity: Mapping[str, Any],
    version: str,
) -> None:
    """Write the checkpoint atomically: a reader finds the old file or the new one, also after a crash.

    Args:
        path: the file to write.
        model: its state dict is saved, each shared tensor once.
        optimizer: its state is saved under the names of the model's parameters.
        progress: the point that the run has reached.
        identity: JSON values that a resumed run must share, by name; a difference is refused and named.
        version: the version of maskwork, for the message of a later version that reads another format.

    Raises:
        CheckpointError: the file cannot be written; the old file is then unchanged.
    """
    tensors = {_MODEL + name: tensor for name, tensor in _model_tensors(model)[0].items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in optimizer_tensors(model, optimizer).items()}
    tensors |= {_STATE + name: tensor for name, tensor in progress.state.items()}
    tensors = {name: _compact(tensor) for name, tensor in sorted(tensors.items())}
    header = {
        "format": FORMAT,
        "version": version,
        "step": progress.step,
        "tokens": progress.tokens,
        "identity": dict(identity),
        "crc32": tensors_crc32(tensors),
    }
    # One entry, because safetensors writes several in no fixed order and equal runs should write equal files.
    metadata = {_METADATA: json.dumps(header, sort_keys=True)}
    try:
        with temporary_beside(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"a checkpoint needs room and permission to write '{path}', got: {first_line(error)}; make room and "
            "resume (the checkpoint before is unchanged)"
        ) from error


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, identity: Mapping[str, Any]
) -> Progress:
    """Put the checkpoint into `model` and `optimizer`, or raise and leave both unchanged.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or of a run whose identity differs.
    """
    header, tensors = _read(path)
    # Through JSON, as the saved identity went: a tuple equals the list that it is saved as.
    difference = first_difference(header["identity"], json.loads(json.dumps(identity)))
    if difference:
        field, saved, current = difference
        raise CheckpointError(
            f"a checkpoint continues only the run that wrote it, got {field} = {current} where '{path}' has {saved}; "
            "resume with the values of the checkpoint, or start a new run"
        )
    # All is checked before the first tensor is copied, so that an error leaves model and optimizer as they were.
    optimizer_part = {
        name.removeprefix(_OPTIMIZER): tensor for name, tensor in tensors.items() if name.startswith(_OPTIMIZER)
    }
    _check_optimizer_part(path, model, optimizer_part)
    _put_weights(path, model, tensors)
    load_optimizer_tensors(model, optimizer, optimizer_part)
    state = {name.removeprefix(_STATE): tensor for name, tensor in tensors.items() if name.startswith(_STATE)}
    return Progress(header["step"], header["tokens"], state)


def load_checkpoint_weights(path: Path, model: nn.Module) -> Progress:
    """Put only the weights of a checkpoint into `model`, whatever it was trained with.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
    """
    header, tensors = _read(path)
    _put_weights(path, model, tensors)
    return Progress(header["step"], header["tokens"])


def first_difference(left: Any, right: Any, field: str = "") -> tuple[str, str, str] | None:
    """Return the first place where two JSON values differ: its dotted name, then both values in short.

    >>> first_difference({"train": {"seed": 1}}, {"train": {"seed": 2}})
    ('train.seed', '1', '2')
    """
    # Tables are compared key by key, so that the message names the field and not the whole table.
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            inner = f"{field}.{key}" if field else str(key)
            if key not in left or key not in right:
                return inner, _short(left.get(key, "absent")), _short(right.get(key, "absent"))
            if difference := first_difference(left[key], right[key], inner):
                return difference
        return None
    return None if left == right and type(left) is type(right) else (field, _short(left), _short(right))


def _short(value: Any) -> str:
    """Return a value as text of at most 40 characters."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}…"


def _model_tensors(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the state dict with each shared tensor once, and alias -> name of the other names of such tensors."""
    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    names: dict[tuple[Any, ...], str] = {}  # of the tensor at a place in memory
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            raise ArgumentError(
                f"a checkpoint holds tensors only, got a {type(tensor).__name__} in {name!r} of the state dict; "
                "make it a buffer"
            )
        # Tied weights are one tensor under two names: safetensors refuses to write it twice.
        storage = tensor.untyped_storage().data_ptr()
        memory = (tensor.device, storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and memory in names:
            aliases[name] = names[memory]
        else:
            names[memory] = name
            tensors[name] = tensor
    return tensors, aliases


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor on the CPU, contiguous, in a storage that holds nothing else: what safetensors writes."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return header and tensors of a checkpoint, whose format and checksum are checked."""
    if not path.is_file():
        raise CheckpointError(f"a run continues from a checkpoint, got none at '{path}'; train without resuming first")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(_METADATA)
            # Cloned: views of the file would keep the file open while the next save replaces it.
            names = list(file.keys())
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_damaged(path, first_line(error))) from error
    if text is None:
        raise CheckpointError(
            f"a checkpoint must be a file that maskwork train wrote, got another safetensors file, '{path}'; give a "
            "run folder of maskwork train"
        )
    header = _parse_header(path, text)
    if header["crc32"] != tensors_crc32(tensors):
        raise CheckpointError(_damaged(path, "its checksum does not match its tensors"))
    return header, tensors


def _parse_header(path: Path, text: str) -> dict[str, Any]:
    """Return the metadata as a table whose format and fields are checked."""
    try:
        header = json.loads(text)
        number, version = header["format"], header["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(_damaged(path, "its metadata does not parse")) from error
    # Before the other fields, which another format may lack.
    if number != FORMAT:
        raise CheckpointError(
            f"this maskwork reads checkpoints of format {FORMAT}, got format {number} in '{path}', written by "
            f"maskwork {version}; resume with that version"
        )
    numbers = [header.get(key) for key in ("step", "tokens", "crc32")]
    if not all(map(is_integer, numbers)) or not isinstance(header.get("identity"), dict):
        raise CheckpointError(_damaged(path, "its metadata is incomplete"))
    return header


def _damaged(path: Path, why: str) -> str:
    """Return the message about a damaged file."""
    return f"a checkpoint must be intact, got '{path}', which is damaged ({why}); restore a copy or start a new run"


def _put_weights(path: Path, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put the weights of a checkpoint into the model, or raise `CheckpointError` and leave the model unchanged."""
    current, aliases = _model_tensors(model)
    saved = {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
    # Names of one side alone are described as "nothing" on the other side.
    for name in sorted(current.keys() | saved.keys()):
        in_model, in_file = _describe(current.get(name)), _describe(saved.get(name))
        if in_model != in_file:
            raise CheckpointError(
                f"a checkpoint fits only the model that it was written from, got {name}: {in_file} in '{path}' "
                f"where this model has {in_model}; build the model with the run's own configuration"
            )
    model.load_state_dict(saved | {alias: saved[name] for alias, name in aliases.items()})


def _check_optimizer_part(path: Path, model: nn.Module, part: Mapping[str, torch.Tensor]) -> None:
    """Raise `CheckpointError` unless each tensor of the optimizer belongs to a parameter of its shape."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for full_name, tensor in part.items():
        name, _, key = full_name.rpartition(":")
        # AdamW's moments have the parameter's shape; its count of steps has no axis.
        if name not in shapes or (tensor.ndim > 0 and tensor.shape != shapes[name]):
            raise CheckpointError(
                f"a checkpoint fits only the model that it was written from, got the optimizer's {key} for {name} in "
                f"'{path}': {_describe(tensor)}, which this model lacks or has in another shape; build the model with "
                "the run's own configuration"
            )


def _describe(tensor: torch.Tensor | None) -> str:
    """Return dtype and shape as text."""
    return "nothing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
