"""One file that continues a run: weights, optimizer and what they belong to, written whole or not at all."""

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
from ..data import temporary_beside
from ..errors import ArgumentError, CheckpointError
from ._optimizer import load_optimizer_tensors, optimizer_tensors

#: The layout of the file; another number is another maskwork's.
FORMAT = 1

_METADATA = "maskwork_checkpoint"
_MODEL, _OPTIMIZER, _STATE = "model.", "optimizer.", "state."


@dataclass(frozen=True)
class Progress:
    """How far a run has come: whole steps, and tokens (padding not counted).

    `state` holds what else the next step depends on, by name: tensors such as a curriculum's measurements.
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
    """Write the checkpoint atomically: a reader, or a crash, finds the old file or the new one.

    Args:
        identity: JSON values that a resumed run must share, by name; a difference is refused and named.
    """
    tensors = {_MODEL + name: tensor for name, tensor in _model_tensors(model)[0].items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in optimizer_tensors(model, optimizer).items()}
    tensors |= {_STATE + name: tensor for name, tensor in progress.state.items()}
    tensors = {name: _own(tensor) for name, tensor in sorted(tensors.items())}
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
            f"a checkpoint needs room and permission to write '{path}'; found: {_one_line(error)}; make room "
            "and resume (what was saved before is still whole)"
        ) from error


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, identity: Mapping[str, Any]
) -> Progress:
    """Put the checkpoint into `model` and `optimizer`, or raise and leave both as they were.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or of a run whose identity differs.
    """
    header, tensors = _read(path)
    difference = first_difference(header["identity"], json.loads(json.dumps(identity)))
    if difference:
        field, saved, given = difference
        raise CheckpointError(
            f"a checkpoint continues only the run that wrote it; {field} is {saved} in '{path}' and {given} "
            "here; resume with what it was trained with, or start a new run"
        )
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
    """The first place where two JSON values differ: its dotted name, then both values in short.

    >>> first_difference({"train": {"seed": 1}}, {"train": {"seed": 2}})
    ('train.seed', '1', '2')
    """
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            inner = f"{field}.{key}" if field else str(key)
            if key not in left or key not in right:
                return inner, _short(left.get(key, "absent")), _short(right.get(key, "absent"))
            if found := first_difference(left[key], right[key], inner):
                return found
        return None
    return None if left == right and type(left) is type(right) else (field, _short(left), _short(right))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}…"


def _model_tensors(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The state dict with each shared tensor once, and which other names stand for which kept one."""
    kept: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            raise ArgumentError(
                f"a checkpoint holds tensors only; {name!r} of the state dict is a {type(tensor).__name__}; "
                "make it a buffer"
            )
        storage = tensor.untyped_storage().data_ptr()
        where = (tensor.device, storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and where in seen:
            aliases[name] = seen[where]
        else:
            seen[where] = name
            kept[name] = tensor
    return kept, aliases


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """On the CPU, contiguous, in a storage of its own: what safetensors writes."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise CheckpointError(
            f"a run continues from a checkpoint; found none at '{path}'; train without resuming first"
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(_METADATA)
            # Cloned: views of the file would keep it open while the next save replaces it.
            names = list(file.keys())
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_damaged(path, _one_line(error))) from error
    if text is None:
        raise CheckpointError(
            f"a checkpoint must be one that maskwork wrote; '{path}' is a safetensors file of something "
            "else; give a run folder of maskwork train"
        )
    header = _parse_header(path, text)
    if header["crc32"] != tensors_crc32(tensors):
        raise CheckpointError(_damaged(path, "its checksum does not match its tensors"))
    return header, tensors


def _parse_header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
        number, version = header["format"], header["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(_damaged(path, "its metadata does not parse")) from error
    if number != FORMAT:
        raise CheckpointError(
            f"this maskwork reads checkpoints of format {FORMAT}; '{path}' has format {number}, written by "
            f"maskwork {version}; resume with that version"
        )
    kinds = {"step": int, "tokens": int, "identity": dict, "crc32": int}
    if any(not isinstance(header.get(key), kind) for key, kind in kinds.items()):
        raise CheckpointError(_damaged(path, "its metadata is incomplete"))
    return header


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _damaged(path: Path, why: str) -> str:
    return f"a checkpoint must be whole; '{path}' is damaged ({why}); restore it from a copy or start a new run"


def _put_weights(path: Path, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    kept, aliases = _model_tensors(model)
    found = {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
    for name in sorted(kept.keys() | found.keys()):
        here, there = _describe(kept.get(name)), _describe(found.get(name))
        if here != there:
            raise CheckpointError(
                f"a checkpoint fits only the model that it was written from; '{path}' has {name}: {there} "
                f"where this model has {here}; build the model with the run's own configuration"
            )
    model.load_state_dict(found | {alias: found[name] for alias, name in aliases.items()})


def _check_optimizer_part(path: Path, model: nn.Module, part: Mapping[str, torch.Tensor]) -> None:
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for full_name, tensor in part.items():
        name, _, key = full_name.rpartition(":")
        if name not in shapes or (tensor.ndim > 0 and tensor.shape != shapes[name]):
            raise CheckpointError(
                f"a checkpoint fits only the model that it was written from; '{path}' has the optimizer's "
                f"{key} for {name}: {_describe(tensor)}, which this model lacks or shapes otherwise; build "
                "the model with the run's own configuration"
            )


def _describe(tensor: torch.Tensor | None) -> str:
    return "nothing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
