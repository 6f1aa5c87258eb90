"""A model from a folder that the user names: a run of `maskwork train`, or a Hugging Face model.

Only JSON and safetensors are read, never a pickle, never code that lies beside them, and nothing is fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data import token_text
from ...errors import ArgumentError
from ...masks import Mask, causal, full, sliding_window
from ...training import RunFolder
from .. import _limits as limits


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode, and what is known of it."""

    model: Any
    #: The mask that it says it keeps, the past alone or everything for a Hugging Face model.
    mask: Mask
    vocab_size: int
    #: Most positions that it knows, None when it does not say.
    context: int | None
    #: From a text to ids; None where the folder holds no tokenizer.
    encode: Callable[[str], list[int]] | None
    #: From an id to its text.
    text: Callable[[int], str]
    hugging_face: bool
    #: What whoever looks at it should know.
    notes: tuple[str, ...] = ()


def load(folder: Path) -> Loaded:
    """The model in this folder.

    Raises:
        ArgumentError, RunError, CheckpointError: it holds none that can be read; one line says why.
    """
    config = _json(folder / "config.json")
    size = 0
    for file in folder.glob("*.safetensors"):
        try:
            size += file.stat().st_size
        except OSError as error:  # a link that leads nowhere
            raise ArgumentError(
                f"a model's files can all be read, '{file}' can't ({error.strerror}); restore it, or remove it"
            ) from None
    if size > limits.MODEL_BYTES:
        raise ArgumentError(
            f"a model is opened here up to {limits.MODEL_BYTES >> 30} GiB of weights, '{folder}' holds {size >> 30} "
            "GiB; take a smaller one"
        )
    return _hugging_face(folder, config) if "model_type" in config else _run(folder)


def folder_of(text: str) -> Path:
    """The folder that a user typed, made absolute."""
    try:
        found = Path(text).expanduser().resolve(strict=True)
        is_model = (found / "config.json").is_file()
    except (OSError, ValueError, RuntimeError):
        raise ArgumentError(
            f"a model is a folder on this machine; found nothing at {text[:200]!r}; check the path"
        ) from None
    if not is_model:
        raise ArgumentError(
            f"a model's folder holds config.json; found none in '{found}'; give a folder of maskwork train, or of "
            "save_pretrained"
        )
    return found


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of the folder's files: another model in it has another stamp."""
    try:
        files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    except OSError as error:
        raise ArgumentError(f"a model's folder can be read, '{folder}' can't ({error.strerror}); mend it") from None
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in files)


def _run(folder: Path) -> Loaded:
    run = RunFolder.open(folder)
    model = run.load_model().eval()
    tokenizer = run.load_tokenizer() if run.tokenizer_path.is_file() else None
    encode = None if tokenizer is None else tokenizer.encode
    config = model.config
    return Loaded(model, model.mask, config.vocab_size, config.context, encode, token_text(tokenizer), False)


def _hugging_face(folder: Path, config: dict[str, Any]) -> Loaded:
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported
    try:
        import transformers
    except ImportError:
        raise ArgumentError(
            "a Hugging Face model needs transformers, which is not installed; pip install maskwork[hf]"
        ) from None
    transformers.utils.logging.disable_progress_bar()  # they would be drawn over the server's own lines
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    kind = getattr(transformers, name, None) if name.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise ArgumentError(
            f"a model's config.json names a class of transformers under architectures, '{folder}' has "
            f"{name[:80] or 'none'!r}; code from elsewhere is not run here"
        )
    if (folder / "adapter_config.json").exists():
        raise ArgumentError(f"a whole model is opened here, '{folder}' holds an adapter; merge it and save the model")
    try:
        model, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, attn_implementation="eager",
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # a stranger's files: whatever is raised is why they cannot be read
        said = str(error).splitlines() or [type(error).__name__]
        raise ArgumentError(
            f"'{folder}' can't be opened as {name} from safetensors files: {said[0][:300]}; save it again with "
            "save_pretrained"
        ) from None
    try:
        vocab_size = model.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError):
        raise ArgumentError(
            f"weights are shown of models that read tokens alone, {name} in '{folder}' has no table of them; take "
            "another model"
        ) from None
    missing = sorted(found["missing_keys"])
    notes = (f"not in the files, so random here: {', '.join(missing)[:300]}",) if missing else ()
    encode, text = _tokenizer(folder / "tokenizer.json")
    inner = model.config.get_text_config()
    past = "CausalLM" in name or "LMHead" in name or bool(getattr(inner, "is_decoder", False))
    mask, said = _own_mask(inner) if past else (full(), ())
    context = getattr(inner, "max_position_embeddings", None)
    return Loaded(
        model.eval(), mask, vocab_size, context if isinstance(context, int) else None, encode, text, True, notes + said
    )


def _own_mask(config: Any) -> tuple[Mask, tuple[str, ...]]:
    """The mask of a decoder as its configuration says it, in the names that transformers uses."""
    window, kinds = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or ())
    if type(window) is not int or window < 1 or getattr(config, "use_sliding_window", True) is False:
        return causal(), ()
    if kinds <= {"sliding_attention"}:
        return sliding_window(window), ()
    if "sliding_attention" not in kinds:
        return causal(), ()
    return causal(), (f"some of its layers see a window of {window} alone, and are held to causal here as the others",)


def _tokenizer(path: Path) -> tuple[Callable[[str], list[int]] | None, Callable[[int], str]]:
    """Encoder and token texts of a tokenizer.json; other forms of a tokenizer may hold pickles."""
    if not path.is_file():
        return None, token_text(None)
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise ArgumentError(f"'{path}' can't be read as a tokenizer ({error}); give token ids, or restore it") from None
    return lambda text: tokenizer.encode(text).ids, token_text(tokenizer.id_to_token)


def _json(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > limits.MAX_CONFIG:
            raise ArgumentError(
                f"a model's config.json has at most {limits.MAX_CONFIG >> 20} MiB here, '{path}' has {size} bytes; "
                "restore it"
            )
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArgumentError(f"a model's config.json must be JSON, '{path}' is not ({error}); restore it") from None
    if not isinstance(config, dict):
        raise ArgumentError(f"a model's config.json is a table, '{path}' holds none; restore it")
    return config
