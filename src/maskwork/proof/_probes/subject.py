"""The model under audit: called with one seed, with its own inputs or with substitutes, and restored afterwards."""

from __future__ import annotations

import copy
import inspect
import itertools
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..._shared.numbers import is_integer
from ...errors import ArgumentError
from .tolerance import change

# Set before every call, so that dropout and other seeded noise is the same on both sides of a comparison.
_SEED = 20_241

# Largest vocabulary whose tokens are dealt out one by one.
_MOST_TOKENS = 1 << 20

# Weights beyond this are not copied: a forward pass that rewrites them is rare, a machine that is full is not.
_MOST_BYTES = 1 << 30

# The content of these types is restored too; types derived from them may refuse that, as outputs of transformers do.
_PLAIN = (list, dict, OrderedDict)

# Random states belong to the process and hooks to the model, so that audits in several threads wait for each other.
_LOCK = threading.RLock()


class CannotRun(Exception):
    """The reason why a check does not apply to this model."""


@dataclass(eq=False)
class Subject:
    """A model, how it is called, and one sequence for it. No field is changed after the start; see `replace`.

    Attributes:
        inputs: int64 `(L,)`, or embeddings `(L, D)`.
        out_length: length of the output, where it differs from the input's.
        name: the argument that takes the inputs; None = the first one.
        fixed: other arguments, of one row each: an encoder-decoder model needs both sequences.
        pick: the attribute of the answer that is the output, where it is not the usual one.
        refuses: arguments that belong to another sequence than these inputs.
    """

    model: Any
    call: Callable[..., Any] | None
    inputs: torch.Tensor
    out_length: int | None = None
    name: str | None = None
    fixed: Mapping[str, torch.Tensor] = field(default_factory=dict)
    pick: str | None = None
    refuses: frozenset[str] = frozenset()

    @property
    def length(self) -> int:
        """Number of positions."""
        return len(self.inputs)

    @property
    def module(self) -> torch.nn.Module | None:
        """The model, where it is a module and not a function."""
        return self.model if isinstance(self.model, torch.nn.Module) else None

    @property
    def config(self) -> Any:
        """The model's configuration, None where it has none."""
        return getattr(self.model, "config", None)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the model takes two sequences."""
        return self.accepts("input_ids", "decoder_input_ids") and not self.inputs.is_floating_point()

    def run(self, inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return the outputs `(B, L)` or `(B, L, …)` for inputs `(B, L)` or `(B, L, D)`."""
        answer = self.answer(inputs, **options)
        out = getattr(answer, self.pick, None) if self.pick else main_output(answer)
        expected = (inputs.shape[0], self.out_length or inputs.shape[1])
        if not isinstance(out, torch.Tensor) or tuple(out.shape[:2]) != expected:
            got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise ArgumentError(
                f"an audited model returns one output per position, (batch, length, …), got {got} for ids "
                f"{tuple(inputs.shape)}; adapt it with call=lambda model, ids: …"
            )
        return out

    def answer(self, inputs: torch.Tensor, **options: Any) -> Any:
        """Return what the model returns: a tensor, a tuple, or an object."""
        torch.default_generator.manual_seed(_SEED)  # torch.manual_seed formats a stack trace each time
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(_SEED)
        random.seed(_SEED)
        np.random.seed(_SEED)
        # A model may write into its arguments: the next call gets the original values.
        inputs = inputs.clone()
        options = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in options.items()}
        if self.call is not None:
            return self.call(self.model, inputs)
        rows = {name: value.repeat(len(inputs), *[1] * (value.ndim - 1)) for name, value in self.fixed.items()}
        if self.name is not None or rows:
            return self.model(**{self.name or "input_ids": inputs}, **rows, **options)
        if inputs.is_floating_point() and self.accepts("inputs_embeds"):
            return self.model(inputs_embeds=inputs, **options)
        return self.model(inputs, **options)

    def rows(self, count: int) -> torch.Tensor:
        """Return a batch of `count` rows, each the sequence itself."""
        return self.inputs.expand(count, *self.inputs.shape).clone()

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Names of the arguments that the model takes."""
        if self.call is not None:
            return frozenset()
        try:
            return frozenset(inspect.signature(getattr(self.model, "forward", self.model)).parameters)
        except (TypeError, ValueError):  # a builtin says nothing about its arguments
            return frozenset()

    def accepts(self, *names: str) -> bool:
        """Return whether the model can be called with these keyword arguments."""
        return self.call is None and set(names) <= self.parameters - self.refuses

    def without_cache(self) -> dict[str, Any]:
        """Return options that keep a model from filling a cache, which a replayed module would fill twice."""
        return {"use_cache": False} if self.accepts("use_cache") else {}

    @cached_property
    def noise(self) -> float:
        """The largest change between two equal calls, 0 where every bit is equal."""
        return self.noise_of({})

    def noise_of(self, options: Mapping[str, Any]) -> float:
        """Return the largest change between two equal calls with these options."""
        self.run(self.rows(1), **options)  # so that both calls below have an equal call before them
        first, second = (self.run(self.rows(1), **options) for _ in range(2))
        return float(change(first[0], second[0]).max())

    @cached_property
    def vocab_size(self) -> int | None:
        """The number of tokens that the model knows, None where it cannot be learned; `call` may renumber tokens."""
        if self.call is not None:
            return None
        size = getattr(self.config, "vocab_size", None)
        if is_integer(size):
            return int(size)
        return None if self.module is None or self.inputs.is_floating_point() else self._embedding_entries()

    def _embedding_entries(self) -> int | None:
        """Count the entries of the table in which the ids are looked up; None when no table takes them as they are.

        Of a model that cannot be called with ids alone, the fewest entries of any table: ids below are in all of them.
        """
        assert self.module is not None
        sizes: list[int] = []
        ids = self.inputs.roll(1)[None]  # in another order, since a sequence 0, 1, 2, … looks like its positions

        def before(table: Any, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], torch.Tensor) and torch.equal(args[0].reshape(-1), ids[0]):
                sizes.append(table.num_embeddings)

        tables = [module for module in self.module.modules() if type(module) is torch.nn.Embedding]
        handles = [table.register_forward_pre_hook(before) for table in tables]
        try:
            with torch.no_grad():
                self.answer(ids)
        except Exception:  # the check itself knows which other arguments the model needs, or says that it cannot run
            sizes = [table.num_embeddings for table in tables]
        finally:
            for handle in handles:
                handle.remove()
        return min(sizes, default=None)

    def float64(self) -> Subject | None:
        """Return a copy of model and inputs in float64; None when it cannot be made."""
        if self.module is None:
            return None
        try:
            model = copy.deepcopy(self.module).double()
        except Exception:  # whatever a stranger's __deepcopy__ raises: there is then no copy to settle rounding with
            return None
        inputs = self.inputs.double() if self.inputs.is_floating_point() else self.inputs
        return replace(self, model=model, inputs=inputs)


def main_output(out: Any) -> Any:
    """Return the output in a model's answer: a tensor, `.logits`, `.last_hidden_state`, or a tuple's first tensor."""
    if isinstance(out, torch.Tensor):
        return out
    for name in ("logits", "last_hidden_state"):
        value = out.get(name) if isinstance(out, Mapping) else getattr(out, name, None)
        if isinstance(value, torch.Tensor):
            return value
    if isinstance(out, (tuple, list)):
        return next((part for part in out if isinstance(part, torch.Tensor)), out)
    return out


def special_tokens(config: Any) -> set[int]:
    """Return the ids to which a configuration gives a special meaning (padding, ends, images).

    A model may count positions or find images by them, so an audit puts none of them in an ordinary token's place.
    """
    ids: set[int] = set()
    for part in (config, getattr(config, "text_config", None)):
        for name, value in vars(part).items() if hasattr(part, "__dict__") else ():
            if name.endswith(("_token_id", "_token_index", "_token_ids")):
                values = value if isinstance(value, (list, tuple)) else [value]
                ids |= {int(v) for v in values if is_integer(v)}
    return ids


def substitutes(subject: Subject, count: int) -> torch.Tensor:
    """Return `(R, L)` or `(R, L, D)`: at most R sequences that differ from the subject's in every position.

    Every call returns the same ones. Ids come from the sequence itself, so they are valid whatever the vocabulary.
    Where its size is known, all rows but the first deal it out like cards: a leak may fire for one token alone.
    Embeddings are those of other positions with noise.
    """
    inputs = subject.inputs
    if inputs.is_floating_point():
        generator = torch.Generator().manual_seed(0)
        scale = inputs.detach().std().nan_to_num(1.0) + 1e-3
        noise = torch.randn(count, *inputs.shape, generator=generator).to(inputs)
        return inputs.roll(1, 0) + noise * scale
    rng = random.Random(0)
    present = sorted(set(inputs.tolist()))
    size = subject.vocab_size
    special = special_tokens(subject.config)
    vocabulary = [t for t in range(size) if t not in special] if size and size <= _MOST_TOKENS else []
    rows = [[rng.choice([other for other in present if other != token]) for token in inputs.tolist()]]
    deck = vocabulary if len(vocabulary) > 2 else present
    dealt = itertools.cycle(rng.sample(deck, len(deck)))
    rows += [[next(new for new in dealt if new != token) for token in inputs.tolist()] for _ in range(1, count)]
    return torch.tensor(rows, device=inputs.device)


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
