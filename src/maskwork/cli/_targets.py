"""What `maskwork audit` is pointed at, made into a model: a run, a Hugging Face model, or package.module:callable."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..masks import Mask, causal, full

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Target:
    """A model, the mask that it should honour unless the user says otherwise, and its limits."""

    model: Any
    expect: Mask | None
    #: Tokens that it knows, None when it does not say.
    vocab_size: int | None
    #: Most positions that it knows.
    context: int | None


def load_target(text: str, *, random_init: bool, shrink: bool, seed: int) -> Target:
    """Raise `ArgumentError` or `RunError` when there is no such model."""
    path = Path(text)
    is_callable, is_run = not path.exists() and ":" in text, path.is_dir() and not _is_hugging_face(path)
    if (is_callable or is_run) and (random_init or shrink):
        found = "a run folder" if is_run else "module:callable"
        raise ArgumentError(f"--random-init and --tiny are for Hugging Face models, got {found}; leave them out")
    if is_callable:
        return _callable(text)
    if is_run:
        from ..training import RunFolder

        model = RunFolder.open(path).load_model()
        return Target(model, model.mask, model.config.vocab_size, model.config.context)
    return _hugging_face(text, random_init=random_init or shrink, shrink=shrink, seed=seed)


def _is_hugging_face(path: Path) -> bool:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "model_type" in config


def _callable(text: str) -> Target:
    import torch

    module_name, _, name = text.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: the user's own code is usually here
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError(
            f"{text!r} must name a callable as package.module:callable, got {error}; check it"
        ) from None
    finally:
        sys.path.pop(0)
    if not isinstance(found, torch.nn.Module) and callable(found) and not _needs_arguments(found):
        found = found()  # a factory, or a class that needs nothing
    if not callable(found):
        raise ArgumentError(f"{text!r} must be a model or make one, got {type(found).__name__}; name a callable")
    config = getattr(found, "config", None)
    size, context = (getattr(config, name, None) for name in ("vocab_size", "max_position_embeddings"))
    size = size if isinstance(size, int) else _smallest_table(found)
    return Target(found, None, size, context if isinstance(context, int) else None)


def _smallest_table(model: Any) -> int:
    """Ids below this are looked up safely, whichever table is that of the tokens; at most 32.

    A table of one or two is of segments, not of tokens.
    """
    import torch

    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    sizes = [module.num_embeddings for module in modules if isinstance(module, torch.nn.Embedding)]
    return min(32, *(size for size in [*sizes, 32] if size > 2))


def _needs_arguments(found: Any) -> bool:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return True
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in variadic for p in parameters)


def _hugging_face(text: str, *, random_init: bool, shrink: bool, seed: int) -> Target:
    try:
        import transformers
    except ImportError:
        raise ArgumentError(
            f"auditing {text!r} needs transformers, which is not installed; pip install maskwork[hf]"
        ) from None
    named = getattr(transformers, text, None) if text.isidentifier() else None
    if random_init and isinstance(named, type) and getattr(named, "config_class", None) is not None:
        return hugging_face_target(build(named, named.config_class(), shrink=shrink, seed=seed))
    try:
        config = transformers.AutoConfig.from_pretrained(text)
    except (OSError, ValueError, KeyError) as error:
        why = str(error).splitlines()[0]
        raise ArgumentError(
            f"{text!r} must be a run folder, a model folder, a hub id or module:callable; {why}"
        ) from None
    name = (getattr(config, "architectures", None) or [""])[0]
    kind = getattr(transformers, name, None) or transformers.AutoModelForCausalLM
    if random_init:
        model = build(kind, config, shrink=shrink, seed=seed)
    else:
        try:
            model = kind.from_pretrained(text)
        except (OSError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise ArgumentError(f"the weights of {text!r} cannot be loaded: {why}; --random-init needs none") from None
    return hugging_face_target(model)


def build(kind: Any, config: Any, *, shrink: bool, seed: int) -> torch.nn.Module:
    """A model of this class with random weights."""
    import torch

    from ..hf._tiny import tiny

    config = tiny(config) if shrink else config
    torch.manual_seed(seed)
    make = kind._from_config if hasattr(kind, "_from_config") else kind.from_config
    return make(config).eval()


def hugging_face_target(model: Any) -> Target:
    """What a model of transformers should honour by its class: the past alone, or everything."""
    name, config = type(model).__name__, model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    looks_back = "CausalLM" in name or "LMHead" in name or getattr(text, "is_decoder", False)
    both = getattr(config, "is_encoder_decoder", False)
    size, context = (getattr(text, n, None) for n in ("vocab_size", "max_position_embeddings"))
    return Target(
        model,
        None if both else causal() if looks_back else full(),
        size if isinstance(size, int) else None,
        context if isinstance(context, int) else None,
    )


def tokens_for(target: Target, length: int, seed: int) -> torch.Tensor:
    """int64 `(L,)`: random tokens that the model knows, none of them with a meaning of its own."""
    import torch

    from ..proof import special_tokens

    special = special_tokens(getattr(target.model, "config", None))
    known = [token for token in range(target.vocab_size or 32) if token not in special]
    if len(known) < 2:
        raise ArgumentError(f"an audit needs two ordinary tokens, the model knows {len(known)}; train one with more")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(0, len(known), (length,), generator=generator)
    ids = torch.tensor(known)[chosen]
    if len(ids.unique()) < 2:
        ids[0] = known[0] if int(ids[0]) != known[0] else known[1]
    return ids
