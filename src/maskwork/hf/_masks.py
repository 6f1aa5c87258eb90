"""`own_masks`: the masks that a model of transformers declares by its class and its configuration, one per layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._shared.numbers import is_integer
from ..masks import Mask, band, causal, chunked, full, sliding_window

# Names of layers in `config.layer_types` (transformers 5) whose mask is narrower than the past, or than everything.
# The others either attend to all of it or mix positions by a recurrence or a convolution, which reach all of the past.
_SLIDING, _CHUNKED = "sliding_attention", "chunked_attention"


def own_masks(model: Any) -> tuple[Mask, ...]:
    """Return the masks that `model` declares.

    A decoder sees the past, an encoder everything. A layer of type "sliding_attention" sees the window
    `config.sliding_window` of it, its own token counted; one of type "chunked_attention" its chunk of
    `config.attention_chunk_size` positions.

        layer_types   sliding   sliding   full   sliding        Gemma 3, Cohere 2, gpt-oss, Qwen2, ...
        masks         window    window    causal window

    Args:
        model: a model of transformers.

    Returns:
        One mask for all layers where they agree, else one per layer; an empty tuple for an encoder-decoder model,
        whose two sequences have masks of their own.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        return ()
    config = text_config(model)
    decodes = _decodes(type(model).__name__, config)
    # Where layers differ in a number, such as their windows, each has a configuration of its own.
    layers = list(config.per_layer_config) if getattr(config, "is_heterogeneous", False) else [config]
    kinds = _layer_kinds(config) or [None] * len(layers)
    layers = layers if len(layers) == len(kinds) else layers * len(kinds)
    masks = tuple(_layer_mask(kind, layer, decodes) for kind, layer in zip(kinds, layers, strict=True))
    return masks[:1] if len(set(masks)) == 1 else masks


def masks_text(masks: Sequence[Mask]) -> str:
    """Return the masks as one line that says which layers each belongs to.

    >>> import maskwork as mw
    >>> masks_text([mw.sliding_window(3), mw.causal(), mw.sliding_window(3)])
    'sliding_window(3) in layers 0, 2; causal in layer 1'
    """
    if len(masks) == 1:
        return repr(masks[0])
    layers: dict[Mask, list[str]] = {}
    for layer, mask in enumerate(masks):
        layers.setdefault(mask, []).append(str(layer))
    return "; ".join(
        f"{mask!r} in layer{'s' * (len(numbers) > 1)} {', '.join(numbers)}" for mask, numbers in layers.items()
    )


def text_config(model: Any) -> Any:
    """Return the configuration of the model's language part: the model's own, unless it has several parts."""
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _decodes(class_name: str, config: Any) -> bool:
    """Return whether each position sees the past alone."""
    if getattr(config, "use_bidirectional_attention", None) in (True, "all"):  # EmbeddingGemma
        return False
    if "CausalLM" in class_name or "LMHead" in class_name or getattr(config, "is_decoder", False):
        return True
    from transformers.models.auto import modeling_auto

    # A body without a head, such as LlamaModel: by the heads that transformers has for its kind. BERT has both heads,
    # and decodes only where its configuration says `is_decoder`.
    kind = getattr(config, "model_type", None)
    return (
        kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and kind not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )


def _layer_kinds(config: Any) -> list[str]:
    """Return the type of each layer; an empty list where the configuration names none."""
    kinds: list[str] = list(getattr(config, "layer_types", None) or ())
    if local := getattr(config, "attention_layers", None):  # GPT-Neo
        kinds = [_SLIDING if kind == "local" else "full_attention" for kind in local]
    return kinds[: _size(config, "num_hidden_layers")]  # a shrunk configuration may have fewer layers than entries


def _default_kind(config: Any, decodes: bool) -> str:
    """Return the type of a layer that the configuration does not name, by the sizes that it sets, as Mistral does."""
    if decodes and _size(config, "sliding_window") and getattr(config, "use_sliding_window", True):
        return _SLIDING
    return _CHUNKED if decodes and _size(config, "attention_chunk_size") else "full_attention"


def _layer_mask(kind: str | None, config: Any, decodes: bool) -> Mask:
    kind = kind or _default_kind(config, decodes)
    window = _size(config, "sliding_window") or _size(config, "window_size")  # the second is GPT-Neo's
    if kind == _SLIDING and window:
        if decodes:
            return sliding_window(window)
        # Gemma counts its own token, ModernBERT does not.
        side = window - 1 if getattr(config, "use_bidirectional_attention", False) else window
        return band(side, side)
    chunk = _size(config, "attention_chunk_size")
    if kind == _CHUNKED and chunk:
        return causal() & chunked(chunk) if decodes else chunked(chunk)
    return causal() if decodes else full()


def _size(config: Any, name: str) -> int | None:
    """Return a size of the configuration, None where it is left out, off (0) or no number."""
    size = getattr(config, name, None)
    return int(size) if is_integer(size) and int(size) > 0 else None
