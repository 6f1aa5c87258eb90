"""Every module that mixes positions, found by what it does in one forward pass, with its step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from .hooks import watching
from .influence import Step, mixes, step_of
from .replay import Replay, survey_batch, survey_rows
from .subject import Subject
from .substitutes import substitutes

# These treat each position alone as long as positions are not on the last axis, whatever their weights.
_LINEAR = (torch.nn.Linear, torch.nn.Dropout, torch.nn.Identity, torch.nn.Embedding, torch.nn.ReLU, torch.nn.GELU)
_LINEAR += (torch.nn.SiLU, torch.nn.Tanh, torch.nn.Sigmoid)
# A Linear whose weight is transposed, which GPT-2 is made of; told by name, so that transformers need not be loaded.
_LINEAR_ELSEWHERE = ("transformers.pytorch_utils.Conv1D",)
_NORMS = (torch.nn.LayerNorm, torch.nn.RMSNorm)


@dataclass(frozen=True)
class Mixer:
    """One call of a module that mixes positions and none of whose parts does."""

    name: str
    step: Step
    attends: bool


@dataclass
class Survey:
    """What a model is made of, along the sequence."""

    mixers: list[Mixer] = field(default_factory=list)
    #: Modules that take and return positions but could not be run a second time.
    unjudged: list[str] = field(default_factory=list)
    #: Modules whose own code attends.
    attends: set[str] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        return bool(self.mixers) and not self.unjudged


def survey(subject: Subject, suspect: torch.Tensor) -> Survey:
    """Run the model once and judge each module in it; `suspect` pairs `(L, L)` are settled in float64."""
    model, length = subject.module, subject.length
    found = Survey()
    if model is None:
        return found
    batch = survey_batch(length)
    rows = survey_rows(subject.inputs, substitutes(subject, 2), batch)
    holds: set[str] = set()  # modules that contain one that mixes

    def left(
        name: str, module: torch.nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any, _: str
    ) -> None:
        if not name or name in holds:
            return
        replay = Replay(module, args, named, out, batch, length)
        if not replay.testable or _each_alone(module, replay):
            return
        watch.busy = True
        try:
            # Attention's step shows whether it mixes; every other module is tried first.
            mixing = (replay.faithful() or None) if name in watch.attends else mixes(replay)
            if mixing is None:
                found.unjudged.append(name)
            elif mixing:
                step = step_of(replay, suspect)
                if (step.seen & ~torch.eye(length, dtype=torch.bool)).any():
                    found.mixers.append(Mixer(name, step, False))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError, AssertionError):
            found.unjudged.append(name)
        finally:
            watch.busy = False
        if found.mixers and found.mixers[-1].name == name:
            parts = name.split(".")
            holds.update(".".join(parts[:i]) for i in range(1, len(parts)))

    with watching(model, length, left=left) as watch, torch.no_grad():
        subject.run(rows, **subject.without_cache())
    found.attends = watch.attends
    # What contains a mixer was not judged, whatever was tried before that was known.
    found.unjudged = [name for name in found.unjudged if not _part_mixes(name, found.mixers)]
    found.mixers = [Mixer(m.name, m.step, _attends(m.name, watch.attends)) for m in found.mixers]
    return found


def _each_alone(module: torch.nn.Module, replay: Replay) -> bool:
    if replay.data_last or replay.out_last or module._forward_hooks.keys() - {next(reversed(module._forward_hooks))}:
        return False
    kind = type(module)
    if f"{kind.__module__}.{kind.__qualname__}" in _LINEAR_ELSEWHERE:
        return True
    return kind in _LINEAR or (kind in _NORMS and len(module.normalized_shape) == 1)  # type: ignore[arg-type]


def _part_mixes(name: str, mixers: list[Mixer]) -> bool:
    return any(m.name.startswith(f"{name}.") for m in mixers)


def _attends(name: str, attends: set[str]) -> bool:
    """Whether the module, or a part of it, attends."""
    return any(other == name or other.startswith(f"{name}.") for other in attends)
