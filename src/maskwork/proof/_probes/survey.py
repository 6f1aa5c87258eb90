"""A model's modules in one forward pass: which of them mix positions, how each does, and which of them attends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .influence import Influence, mixes, module_influence
from .replay import Replay, survey_batch, survey_rows
from .subject import Subject, substitutes

# These treat each position alone as long as positions are not on the last axis, whatever their weights.
_LINEAR = (torch.nn.Linear, torch.nn.Dropout, torch.nn.Identity, torch.nn.Embedding, torch.nn.ReLU, torch.nn.GELU)
_LINEAR += (torch.nn.SiLU, torch.nn.Tanh, torch.nn.Sigmoid)
# A Linear whose weight is transposed, which GPT-2 is made of; known by name, so that transformers need not be loaded.
_LINEAR_ELSEWHERE = ("transformers.pytorch_utils.Conv1D",)
_NORMS = (torch.nn.LayerNorm, torch.nn.RMSNorm)

# Functions of torch that are attention, by name.
_ATTENTION_FUNCTIONS = ("scaled_dot_product_attention", "flex_attention", "multi_head_attention_forward")

#: (name, module, args, kwargs, output or None on entering, name of the module whose code was running)
Visitor = Callable[[str, torch.nn.Module, tuple[Any, ...], dict[str, Any], Any, str], None]


class Watch:
    """A watched forward pass: the modules that are running, and those whose own code attends.

    Attributes:
        attends: names of the modules in whose code attention ran; a part's attention is not its parent's.
        stack: names of the modules that are running, the outermost first.
        replaying: while True, a replay is running, which is not watched.
    """

    def __init__(self) -> None:
        self.attends: set[str] = set()
        self.stack: list[str] = []
        self.replaying = False

    def attends_within(self, name: str) -> bool:
        """Return whether the module or a part of it attends."""
        return any(other == name or other.startswith(f"{name}.") for other in self.attends)


@contextmanager
def watching(
    model: torch.nn.Module, length: int | None, entered: Visitor | None = None, left: Visitor | None = None
) -> Iterator[Watch]:
    """Call `entered` and `left` for every module of a forward pass of `length` positions; None: of several pieces.

    The hooks are removed again on leaving.
    """
    watch = Watch()
    handles: list[Any] = []

    def attach(name: str, module: torch.nn.Module) -> None:
        def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if watch.replaying:
                return
            if entered is not None:
                entered(name, module, args, kwargs, None, watch.stack[-1] if watch.stack else "")
            watch.stack.append(name)

        def after(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            if watch.replaying:
                return
            watch.stack.pop()
            if left is not None:
                left(name, module, args, kwargs, out, watch.stack[-1] if watch.stack else "")

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))

    for name, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):  # these take no hooks
            attach(name, module)
    try:
        with _AttentionMarker(watch, length):
            yield watch
    finally:
        for handle in handles:
            handle.remove()


class _AttentionMarker(TorchFunctionMode):
    """A mode that marks the module in whose code attention runs: by name, or as a softmax over one score per key."""

    def __init__(self, watch: Watch, length: int | None) -> None:
        super().__init__()
        self.watch, self.length = watch, length

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if self.watch.stack and not self.watch.replaying:
            name = getattr(func, "__name__", "")
            scores = args[0] if name in ("softmax", "_softmax") and args and isinstance(args[0], torch.Tensor) else None
            if name in _ATTENTION_FUNCTIONS or (scores is not None and self._one_per_key(scores)):
                self.watch.attends.add(self.watch.stack[-1])
        return func(*args, **(kwargs or {}))

    def _one_per_key(self, scores: torch.Tensor) -> bool:
        if self.length is None:  # pieces of a cached run: a score for each head, query and key
            return scores.ndim == 4
        # A model may put a prompt of its own before the sequence.
        return scores.ndim >= 3 and scores.shape[-1] == scores.shape[-2] >= self.length


@dataclass(frozen=True)
class Mixer:
    """One call of a module that mixes positions and none of whose parts does."""

    name: str
    influence: Influence
    attends: bool


@dataclass
class Survey:
    """A model's modules that mix positions, in the order of their calls.

    Attributes:
        unjudged: modules that take and return positions but could not be run a second time.
    """

    mixers: list[Mixer] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every module that may mix positions was judged."""
        return bool(self.mixers) and not self.unjudged


def survey(subject: Subject, suspect: torch.Tensor) -> Survey:
    """Run the model once and judge each module in it; `suspect` pairs `(L, L)` are settled in float64."""
    model, length = subject.module, subject.length
    if model is None:
        return Survey()
    batch = survey_batch(length)
    rows = survey_rows(subject.inputs, substitutes(subject, 2), batch)
    judged: list[tuple[str, Influence]] = []
    unjudged: list[str] = []
    containers: set[str] = set()  # modules that contain one that mixes

    # Parts are left before the module that holds them, so that the innermost module that mixes is judged first.
    def left(
        name: str, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, _: str
    ) -> None:
        if not name or name in containers:
            return
        replay = Replay(module, args, kwargs, out, batch, length)
        if not replay.testable or _is_positionwise(module, replay):
            return
        watch.replaying = True
        try:
            # Attention's influence shows whether it mixes; every other module is tried first.
            mixing = (replay.faithful() or None) if name in watch.attends else mixes(replay)
            if mixing is None:
                unjudged.append(name)
            elif mixing:
                influence = module_influence(replay, suspect)
                if (influence.observed & ~torch.eye(length, dtype=torch.bool)).any():
                    judged.append((name, influence))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError, AssertionError):
            unjudged.append(name)
        finally:
            watch.replaying = False
        if judged and judged[-1][0] == name:
            parts = name.split(".")
            containers.update(".".join(parts[:i]) for i in range(1, len(parts)))

    with watching(model, length, left=left) as watch, torch.no_grad():
        subject.run(rows, **subject.without_cache())
    return Survey(
        [Mixer(name, influence, watch.attends_within(name)) for name, influence in judged],
        # A module that contains a mixer counts as judged, though a replay of it may have failed before its part's call.
        [name for name in unjudged if not any(mixer.startswith(f"{name}.") for mixer, _ in judged)],
    )


def _is_positionwise(module: torch.nn.Module, replay: Replay) -> bool:
    """Return whether the module's type alone shows that it treats each position for itself."""
    # Another hook than the survey's own, which is the last, may change what the module does.
    if replay.data_last or replay.out_last or module._forward_hooks.keys() - {next(reversed(module._forward_hooks))}:
        return False
    kind = type(module)
    if f"{kind.__module__}.{kind.__qualname__}" in _LINEAR_ELSEWHERE:
        return True
    return kind in _LINEAR or (isinstance(module, _NORMS) and kind in _NORMS and len(module.normalized_shape) == 1)
