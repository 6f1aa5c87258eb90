"""The one place that opens a model of transformers: the model, its own masks, vocabulary, context and tokenizer.

`open_model` trusts what its caller names: a folder, a hub id, or a class that is built with random weights.
`open_folder` does not: nothing is fetched, only JSON and safetensors files of a bounded size are read, and no code that
lies beside them runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._shared.numbers import is_integer
from .._shared.text import first_line
from ..data import token_text
from ..errors import ArgumentError
from ..masks import Mask
from ._masks import own_masks, text_config

if TYPE_CHECKING:
    import torch

#: The text of a token where there is no tokenizer: `#7` is id 7.
_NUMBERED = token_text(None)


@dataclass(frozen=True)
class OpenedModel:
    """A model in evaluation mode, and what is known of it.

    Attributes:
        model: a module, or a function, from token ids.
        masks: one mask for all layers, or one per layer; empty where the model declares none.
        vocab_size: how many tokens it knows, None where it does not say.
        context: the most positions that it knows, None where it does not say.
        encode: from a text to token ids, None where there is no tokenizer.
        token_text: from a token id to its text.
        returns_attentions: whether transformers runs it, which returns the weights of eager attention.
        notes: what a reader of any result about the model should know.
    """

    model: Any
    masks: tuple[Mask, ...] = ()
    vocab_size: int | None = None
    context: int | None = None
    encode: Callable[[str], list[int]] | None = None
    token_text: Callable[[int], str] = _NUMBERED
    returns_attentions: bool = False
    notes: tuple[str, ...] = ()

    def masks_at(self, length: int) -> tuple[Mask, ...]:
        """Return one mask for all layers where they are equal at this length, as wide windows are, else `masks`."""
        distinct = list(dict.fromkeys(self.masks))
        if len(distinct) < 2:
            return self.masks[:1]
        first, *further = (mask.bind(length) for mask in distinct)
        return self.masks[:1] if all(first.equals(other) for other in further) else self.masks


def open_model(name: str, *, random_init: bool = False, shrink: bool = False, seed: int = 0) -> OpenedModel:
    """Return the model that a folder, a hub id or, with random weights, a class of transformers names.

    Args:
        name: a folder of `save_pretrained`, an id of the hub, or the name of a class such as GPT2LMHeadModel.
        random_init: give the model random weights instead of loading them.
        shrink: shrink the configuration to some ten thousand weights, which are random then.
        seed: seed of random weights.

    Raises:
        ArgumentError: transformers is not installed, or there is no such model.
    """
    random_init = random_init or shrink
    transformers = _transformers(f"opening {name!r}")
    named_class = getattr(transformers, name, None) if name.isidentifier() else None
    if random_init and isinstance(named_class, type) and getattr(named_class, "config_class", None) is not None:
        return _open_random(name, named_class, named_class.config_class(), shrink, seed)
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except Exception as error:  # a stranger's files: besides OSError and ValueError, transformers' checks of types
        raise ArgumentError(
            f"{name!r} must be a run folder, a model folder, a hub id or module:callable; {first_line(error)}"
        ) from None
    class_name = (getattr(config, "architectures", None) or [""])[0]
    kind = getattr(transformers, class_name, None) or transformers.AutoModelForCausalLM
    if random_init:
        return _open_random(name, kind, config, shrink, seed)
    try:
        model = kind.from_pretrained(name)
    except Exception as error:  # as above, and safetensors' own errors
        raise ArgumentError(
            f"the weights of {name!r} cannot be loaded: {first_line(error)}; --random-init needs none"
        ) from None
    return describe_model(model)


def open_folder(folder: Path, config: Mapping[str, Any]) -> OpenedModel:
    """Return the model in a folder that may hold anything, with its tokenizer; its attention runs eagerly.

    Args:
        folder: a folder of `save_pretrained`; `check_weight_files` bounds what is read of it.
        config: its config.json, as `read_config` returns it.

    Raises:
        ArgumentError: the folder holds no model that can be read; one line says why.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    transformers = _transformers("a Hugging Face model")
    transformers.utils.logging.disable_progress_bar()  # a bar would be drawn over the caller's own lines
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    kind = getattr(transformers, name, None) if name.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise ArgumentError(
            f"a model's config.json must name a class of transformers under architectures, since code from elsewhere "
            f"is not run, got {name[:80] or 'none'!r} in '{folder}'"
        )
    if (folder / "adapter_config.json").exists():
        raise ArgumentError(f"a folder must hold a whole model, got an adapter in '{folder}'; merge it, save the model")
    try:
        model, loading = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, attn_implementation="eager",
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # a stranger's files: whatever is raised is why they cannot be read
        raise ArgumentError(
            f"'{folder}' must open as {name} from safetensors files, got {first_line(error)[:300]}; save it again "
            "with save_pretrained"
        ) from None
    if _token_table(model) is None:
        raise ArgumentError(
            f"weights are shown of models that read tokens alone, got {name} in '{folder}', which has no table of "
            "them; take another model"
        )
    missing = sorted(loading["missing_keys"])
    notes = (f"not in the files, so random here: {', '.join(missing)[:300]}",) if missing else ()
    encode, text = _tokenizer(folder / "tokenizer.json")
    return describe_model(model, encode=encode, text=text, notes=notes)


def describe_model(
    model: Any,
    *,
    encode: Callable[[str], list[int]] | None = None,
    text: Callable[[int], str] = _NUMBERED,
    notes: tuple[str, ...] = (),
) -> OpenedModel:
    """Return `model`, one of transformers, with what its configuration says of it."""
    config = text_config(model)
    # A table may have more rows than there are tokens, and a configuration may speak of tokens that have no row.
    sizes = [size for size in (getattr(config, "vocab_size", None), _token_table(model)) if is_integer(size)]
    context = getattr(config, "max_position_embeddings", None)
    return OpenedModel(
        model.eval(),
        own_masks(model),
        min(map(int, sizes), default=None),
        int(context) if is_integer(context) else None,
        encode,
        text,
        True,
        notes,
    )


def build_random(kind: Any, config: Any, *, shrink: bool, seed: int) -> torch.nn.Module:
    """Return a model of the class `kind` of transformers with random weights."""
    import torch

    from ._tiny import tiny

    config = tiny(config) if shrink else config
    torch.manual_seed(seed)
    make = kind._from_config if hasattr(kind, "_from_config") else kind.from_config
    return make(config).eval()


def _open_random(name: str, kind: Any, config: Any, shrink: bool, seed: int) -> OpenedModel:
    try:
        return describe_model(build_random(kind, config, shrink=shrink, seed=seed))
    except Exception as error:  # whatever a stranger's constructor raises
        raise ArgumentError(
            f"{name!r} must build with random weights{' when it is shrunk' * shrink}, got {type(error).__name__}: "
            f"{first_line(error)[:200]}"
        ) from None


def is_model_folder(folder: Path) -> bool:
    """Return whether the folder's config.json is one of transformers."""
    try:
        return "model_type" in read_config(folder, 64 << 20)
    except ArgumentError:
        return False


def read_config(folder: Path, max_bytes: int) -> dict[str, Any]:
    """Return config.json as a dictionary; raise `ArgumentError` where it is none, or longer than `max_bytes`."""
    path = folder / "config.json"
    try:
        size = path.stat().st_size
        config = json.loads(path.read_bytes()) if size <= max_bytes else None
    except (OSError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"a model's config.json must be JSON, got '{path}', which is not ({error}); restore it"
        ) from None
    if size > max_bytes:
        raise ArgumentError(
            f"a model's config.json has at most {max_bytes >> 20} MiB here, got {size} bytes in '{path}'; restore it"
        )
    if not isinstance(config, dict):
        raise ArgumentError(f"a model's config.json is a table, got {type(config).__name__} in '{path}'; restore it")
    return config


def check_weight_files(folder: Path, max_bytes: int) -> None:
    """Raise `ArgumentError` where a safetensors file cannot be read, or all of them exceed `max_bytes`."""
    size = 0
    for file in folder.glob("*.safetensors"):
        try:
            size += file.stat().st_size
        except OSError as error:  # a link that leads nowhere
            raise ArgumentError(
                f"a model's files can all be read, got '{file}', which can't ({error.strerror}); restore or remove it"
            ) from None
    if size > max_bytes:
        raise ArgumentError(
            f"a model's weights may have at most {max_bytes >> 30} GiB, got {size >> 30} GiB in '{folder}'; take a "
            "smaller model"
        )


def _transformers(purpose: str) -> Any:
    """Return the module; raise `ArgumentError`, where it is not installed, that `purpose` needs it."""
    try:
        import transformers
    except ImportError:
        raise ArgumentError(f"{purpose} needs transformers, which is not installed; pip install maskwork[hf]") from None
    return transformers


def _token_table(model: Any) -> int | None:
    """Return the rows of the model's embedding of tokens, None where it has none."""
    try:
        return model.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError):
        return None


def _tokenizer(path: Path) -> tuple[Callable[[str], list[int]] | None, Callable[[int], str]]:
    """Return encoder and token texts of a tokenizer.json; other forms of a tokenizer may hold pickles."""
    if not path.is_file():
        return None, _NUMBERED
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise ArgumentError(
            f"a tokenizer.json must be one of tokenizers, got '{path}' ({error}); give token ids, or restore it"
        ) from None
    return lambda text: tokenizer.encode(text).ids, token_text(tokenizer.id_to_token)
