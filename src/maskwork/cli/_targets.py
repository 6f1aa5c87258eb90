"""What `maskwork audit` is pointed at, made into a model: a run, a Hugging Face model, or package.module:callable."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._shared.numbers import is_integer
from ..errors import ArgumentError
from ..hf import OpenedModel, is_model_folder, open_model

if TYPE_CHECKING:
    import torch


def load_target(target: str, *, random_init: bool, shrink: bool, seed: int) -> OpenedModel:
    """Return the model that `target` names; raise `ArgumentError` or `RunError` when there is no such model."""
    # A folder that exists goes before a name: a folder with config.json of transformers, else a run of ours.
    # A name with a colon is a callable, any other name an id of the hub or a class.
    path = Path(target)
    is_callable, is_run = not path.exists() and ":" in target, path.is_dir() and not is_model_folder(path)
    if (is_callable or is_run) and (random_init or shrink):
        kind = "a run folder" if is_run else "module:callable"
        raise ArgumentError(f"--random-init and --tiny are for Hugging Face models, got {kind}; leave them out")
    if is_callable:
        return _callable(target)
    if is_run:
        from ..training import RunFolder

        return RunFolder.open(path).open_model()
    return open_model(target, random_init=random_init, shrink=shrink, seed=seed)


def tokens_for(opened: OpenedModel, length: int, seed: int) -> torch.Tensor:
    """Return int64 `(L,)`: random tokens that the model knows, none of them with a meaning of its own."""
    import torch

    from ..proof import special_tokens

    # Padding or an end of text may be treated in a way of its own, which is no leak.
    special = special_tokens(getattr(opened.model, "config", None))
    ordinary = [token for token in range(opened.vocab_size or 32) if token not in special]
    if len(ordinary) < 2:
        raise ArgumentError(f"an audit needs two ordinary tokens, got a model of {len(ordinary)}; train one with more")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(0, len(ordinary), (length,), generator=generator)
    ids = torch.tensor(ordinary)[chosen]
    # The audit puts one token in another's place, so there must be two different ones.
    if len(ids.unique()) < 2:
        ids[0] = ordinary[0] if int(ids[0]) != ordinary[0] else ordinary[1]
    return ids


def _callable(target: str) -> OpenedModel:
    import torch

    module_name, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: the user's own code is usually here
    try:
        model: Any = importlib.import_module(module_name)
        for part in name.split("."):
            model = getattr(model, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError(
            f"{target!r} must name a callable as package.module:callable, got {error}; check it"
        ) from None
    finally:
        sys.path.pop(0)
    if not isinstance(model, torch.nn.Module) and callable(model) and not _needs_arguments(model):
        model = model()  # a factory, or a class that needs nothing
    if not callable(model):
        raise ArgumentError(f"{target!r} must be a model or make one, got {type(model).__name__}; name a callable")
    config = getattr(model, "config", None)
    size, context = (getattr(config, name, None) for name in ("vocab_size", "max_position_embeddings"))
    size = int(size) if is_integer(size) else _smallest_table(model)
    return OpenedModel(model, (), size, int(context) if is_integer(context) else None)


def _smallest_table(model: Any) -> int:
    """Return how many ids are looked up safely, whichever table is that of the tokens; at most 32.

    A table of one or two is of segments, not of tokens.
    """
    import torch

    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    sizes = [module.num_embeddings for module in modules if isinstance(module, torch.nn.Embedding)]
    return min(32, *(size for size in [*sizes, 32] if size > 2))


def _needs_arguments(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in variadic for p in parameters)
