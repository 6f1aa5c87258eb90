"""The model under audit: how it is called, and which tensor of its answer is the output."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ...errors import ArgumentError
from .tolerance import change

# Before every call, so that dropout and other seeded noise is the same on both sides of a comparison.
_SEED = 20_241


class CannotRun(Exception):
    """A check does not apply to this model; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A model, how it is called, and one sequence for it."""

    model: Any
    call: Callable[..., Any] | None
    #: int64 `(L,)`, or embeddings `(L, D)`.
    inputs: torch.Tensor
    #: Length of the output, where it differs from the input's.
    out_length: int | None = None
    #: The argument that takes the inputs; the first one when None.
    name: str | None = None
    #: Other arguments, of one row each: an encoder-decoder model needs both sequences.
    fixed: Mapping[str, torch.Tensor] = field(default_factory=dict)
    #: The attribute of the answer that is the output, where it is not the usual one.
    pick: str | None = None
    #: Arguments that speak of something else than these inputs.
    refuses: frozenset[str] = frozenset()

    @property
    def length(self) -> int:
        return len(self.inputs)

    def run(self, inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Outputs `(B, L)` or `(B, L, …)` for inputs `(B, L)` or `(B, L, D)`."""
        answer = self.answer(inputs, **options)
        out = getattr(answer, self.pick, None) if self.pick else main_output(answer)
        expected = (inputs.shape[0], self.out_length or inputs.shape[1])
        if not isinstance(out, torch.Tensor) or tuple(out.shape[:2]) != expected:
            found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise ArgumentError(
                f"an audited model returns one output per position, (batch, length, …), got {found} for ids "
                f"{tuple(inputs.shape)}; adapt it with call=lambda model, ids: …"
            )
        return out

    def answer(self, inputs: torch.Tensor, **options: Any) -> Any:
        """What the model returns, whole."""
        torch.default_generator.manual_seed(_SEED)  # torch.manual_seed formats a stack trace each time
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(_SEED)
        random.seed(_SEED)
        np.random.seed(_SEED)
        # A model may write into what it is given: the next call gets it as it was.
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
        """The sequence, `count` times."""
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
        """Whether the model can be called with these keyword arguments."""
        return self.call is None and set(names) <= self.parameters - self.refuses

    def without_cache(self) -> dict[str, Any]:
        """Options that keep a model from filling a cache, which a replayed module would fill twice."""
        return {"use_cache": False} if self.accepts("use_cache") else {}

    @property
    def module(self) -> torch.nn.Module | None:
        return self.model if isinstance(self.model, torch.nn.Module) else None

    @property
    def config(self) -> Any:
        return getattr(self.model, "config", None)

    @cached_property
    def noise(self) -> float:
        """The largest change between two equal calls, 0 where every bit is the same."""
        return self.noise_of({})

    def noise_of(self, options: Mapping[str, Any]) -> float:
        """The same of calls with these options."""
        self.run(self.rows(1), **options)  # so that both of the others have the same call before them
        first, again = (self.run(self.rows(1), **options) for _ in range(2))
        return float(change(first[0], again[0]).max())

    @cached_property
    def vocab_size(self) -> int | None:
        """How many tokens the model knows, where it says so; `call` may mean something else by a token."""
        if self.call is not None:
            return None
        size = getattr(self.config, "vocab_size", None)
        if isinstance(size, int):
            return size
        return None if self.module is None or self.inputs.is_floating_point() else self._looked_up()

    def _looked_up(self) -> int | None:
        """Entries of the table in which the ids themselves are looked up; None when they are used in another way.

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
        except Exception:  # the check itself knows what else the model needs, or says that it cannot run
            sizes = [table.num_embeddings for table in tables]
        finally:
            for handle in handles:
                handle.remove()
        return min(sizes, default=None)

    def float64(self) -> Subject | None:
        """The same model and inputs in float64, on a copy; None when it cannot be made."""
        if self.module is None:
            return None
        try:
            model = copy.deepcopy(self.module).double()
        except Exception:  # whatever a stranger's __deepcopy__ raises: there is then nothing to settle with
            return None
        inputs = self.inputs.double() if self.inputs.is_floating_point() else self.inputs
        return replace(self, model=model, inputs=inputs)


def main_output(out: Any) -> Any:
    """The tensor that an answer is about: itself, `.logits`, `.last_hidden_state`, or the first of a tuple."""
    if isinstance(out, torch.Tensor):
        return out
    for name in ("logits", "last_hidden_state"):
        value = out.get(name) if isinstance(out, Mapping) else getattr(out, name, None)
        if isinstance(value, torch.Tensor):
            return value
    if isinstance(out, (tuple, list)):
        return next((part for part in out if isinstance(part, torch.Tensor)), out)
    return out
