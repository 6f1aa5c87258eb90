"""The answers about a model that the user names: its attention weights under a declared mask, and its audit.

They are computed in a process of their own, the only one that loads torch.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..._shared.numbers import is_integer
from ..._shared.text import first_line
from ...errors import ArgumentError, MaskworkError
from ...hf import OpenedModel, masks_text
from ...masks import Mask, causal, parse
from ...proof import audit
from .. import _limits as limits
from . import examples
from .attention_weights import attended, attended_hugging_face
from .loading import Stamp, load, resolve_folder, stamp

#: The JSON object of a request.
Body = Mapping[str, Any]
#: An example and the mask that it is built to keep, or a folder and the stamp of its files: an equal source is an
#: equal model.
Source = tuple[str, Mask | Stamp]


def weights(body: Body) -> dict[str, Any]:
    """Return the weights of one layer and head, and how much weight every layer and head puts on what is forbidden.

    `forbidden` counts exactly: `cells` whose weight is not 0, their sum `weight`, null where one is not finite, and
    `of` of how many forbidden cells. Nothing is rounded or hidden. Each layer is held to its own mask where the model
    declares one per layer and the request declares none.
    """
    source, opened, ids = _read_request(body)
    layers = _attended(source, ids)
    layer = _index(body, "layer", len(layers))
    head = _index(body, "head", len(layers[layer]))
    own_masks = _own_masks(opened, len(ids), len(layers))
    declared = _declared_mask(body)
    masks = own_masks if declared is None else (declared,) * len(layers)
    allowed = [_allowed(mask, layer_weights) for mask, layer_weights in zip(masks, layers, strict=True)]
    plane = allowed[layer][head]
    return {
        "mask": repr(masks[layer]),
        "own": repr(own_masks[layer]),
        "tokens": [opened.token_text(token) for token in ids],
        "ids": list(ids),
        "layer": layer,
        "head": head,
        "weights": base64.b64encode(layers[layer][head].astype("<f8").tobytes()).decode(),
        "allowed": ["".join("01"[cell] for cell in row) for row in plane.tolist()],
        "forbidden": _forbidden(layers[layer][head], plane),
        "everywhere": [
            [_forbidden(*of_head) for of_head in zip(*of_layer, strict=True)]
            for of_layer in zip(layers, allowed, strict=True)
        ],
        "notes": list(opened.notes),
    }


def audited(body: Body) -> dict[str, Any]:
    """Return what `mw.audit` finds in the model under the declared mask, by its check of the mask."""
    _, opened, ids = _read_request(body)
    declared = _declared_mask(body)
    expected = opened.masks_at(len(ids)) if declared is None else (declared,)
    for mask in expected:
        mask.bind(len(ids))  # a mask that does not fit the prompt is refused before the model runs
    report = audit(opened.model, torch.tensor(ids), expected or None, checks=["mask"])
    answer = json.loads(report.to_json(), parse_constant=lambda _: None)
    for finding, words in zip(answer["findings"], report.findings, strict=True):
        finding["text"] = str(words).splitlines()[0]
    # An encoder-decoder model declares no masks: the audit holds its decoder to the past.
    masks = expected if declared is not None else opened.masks or (causal(),)
    return {"mask": masks_text(masks), **answer}


ANSWERS: dict[str, Callable[[Body], dict[str, Any]]] = {"model": weights, "audit": audited}


def forget() -> None:
    """Drop the cached model, and its weights."""
    _attended.cache_clear()
    _opened.cache_clear()


def _read_request(body: Body) -> tuple[Source, OpenedModel, tuple[int, ...]]:
    """Return the model that the request names, and its prompt as token ids that the model knows."""
    source = _source(body)
    opened = _opened(source)
    ids = _ids(body, opened)
    most = min(limits.MAX_PROMPT, opened.context or limits.MAX_PROMPT)
    if not 1 <= len(ids) <= most:
        raise ArgumentError(f"a prompt has 1 to {most} tokens here, got {len(ids)}")
    if opened.vocab_size is not None and max(ids) >= opened.vocab_size:
        raise ArgumentError(f"the model's tokens are 0 to {opened.vocab_size - 1}, got {max(ids)} in the prompt")
    return source, opened, ids


def _source(body: Body) -> Source:
    path = _text(body, "path", limits.MAX_PATH)
    if path.startswith(examples.PREFIX):
        mask = _declared_mask(body)
        return path, causal() if mask is None else mask
    folder = resolve_folder(path)
    return str(folder), stamp(folder)


def _ids(body: Body, opened: OpenedModel) -> tuple[int, ...]:
    tokens = body.get("ids")
    if tokens is not None:
        if not isinstance(tokens, list) or not all(is_integer(token) and int(token) >= 0 for token in tokens):
            raise ArgumentError(f"token ids are a list of whole numbers from 0, got {json.dumps(tokens)[:80]}")
        return tuple(tokens)
    prompt = _text(body, "prompt", limits.MAX_EXPRESSION)
    if opened.encode is None:
        raise ArgumentError("a text needs the model's tokenizer.json, got none in its folder; give token ids")
    return tuple(opened.encode(prompt))


def _declared_mask(body: Body) -> Mask | None:
    """Return the mask that the request declares, None where the model's own are meant."""
    if body.get("mask") is None:
        return None
    mask = parse(_text(body, "mask", limits.MAX_EXPRESSION))
    if mask.batch != 1:
        raise ArgumentError(
            f"one prompt is one batch row, got a mask of {mask.batch} batch rows; declare the mask of one"
        )
    return mask


def _own_masks(opened: OpenedModel, length: int, layers: int) -> tuple[Mask, ...]:
    """Return the mask that the model declares for each of its layers."""
    masks = opened.masks if len(opened.masks) == layers else opened.masks_at(length)
    if len(masks) not in (1, layers):
        raise ArgumentError(
            f"a model must have a mask for each layer that attends, got {len(masks)} masks and {layers} such layers; "
            "declare a mask"
        )
    return masks if len(masks) == layers else masks * layers


def _allowed(mask: Mask, weights: np.ndarray) -> np.ndarray:
    """Return the cells that the mask allows, bool `(H, L, L)`, for weights of that shape."""
    heads, length, _ = weights.shape
    dense = mask.bind(length, heads=heads).dense()[0]
    return np.broadcast_to(dense, weights.shape)  # the mask has one plane where its heads do not differ


def _forbidden(weights: np.ndarray, allowed: np.ndarray) -> dict[str, Any]:
    """Return what lies on forbidden cells; NaN is not 0."""
    cells = np.where(allowed, 0.0, weights)
    total = float(cells.sum())
    weight = total if math.isfinite(total) else None
    return {"cells": int((cells != 0).sum()), "weight": weight, "of": int((~allowed).sum())}


@lru_cache(maxsize=1)
def _opened(source: Source) -> OpenedModel:
    path, mark = source
    return examples.example(path, mark) if isinstance(mark, Mask) else load(Path(path))


@lru_cache(maxsize=2)
def _attended(source: Source, ids: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Return the weights `(H, L, L)` of each layer, cached while the user goes from head to head: read-only arrays."""
    opened = _opened(source)
    watch = attended_hugging_face if opened.returns_attentions else attended
    try:
        layers = watch(opened.model, torch.tensor(ids))
    except (MaskworkError, MemoryError):
        raise
    except Exception as error:  # a stranger's model: whatever it raises is why it cannot be watched
        raise ArgumentError(
            f"the model must run on these tokens, got {type(error).__name__}: {first_line(error)[:300]}; take others"
        ) from None
    arrays = tuple(layer.numpy() for layer in layers)
    for array in arrays:
        array.flags.writeable = False
    return arrays


def _text(body: Body, name: str, most: int) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not text.strip() or len(text) > most:
        raise ArgumentError(f"{name} is a text of 1 to {most} characters, got {json.dumps(text)[:80]}")
    return text


def _index(body: Body, name: str, end: int) -> int:
    """Return the layer or head that the request names, counted from 0."""
    number = body.get(name, 0)
    if not is_integer(number) or not 0 <= int(number) < end:
        raise ArgumentError(f"the model's {name}s are 0 to {end - 1}, got {json.dumps(number)[:40]}")
    return int(number)
