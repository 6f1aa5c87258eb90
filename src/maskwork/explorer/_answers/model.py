"""The questions about a model that the user names: its attention weights under a declared mask, and its audit.

They are answered in a process of their own, the only one that loads torch.
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

from ...errors import ArgumentError, MaskworkError
from ...masks import BoundMask, Mask, causal, parse
from ...proof import audit
from .. import _limits as limits
from . import examples as examples
from .attention_weights import attended, attended_hugging_face
from .loading import Loaded, folder_of, load, stamp

#: The JSON object of a request.
Body = Mapping[str, Any]
#: An example and the mask it is told to keep, or a folder and the stamp of its files: the same one is the same model.
Source = tuple[str, Any]


def weights(body: Body) -> dict[str, Any]:
    """The weights of one layer and head, and how much weight every layer and head puts on what is forbidden.

    `forbidden` counts exactly: `cells` whose weight is not 0, their sum `weight`, null where one is not finite, and
    `of` of how many forbidden cells. Nothing is rounded or hidden.
    """
    source, loaded, ids = _asked(body)
    layers = _attended(source, ids)
    layer = _number(body, "layer", len(layers))
    head = _number(body, "head", len(layers[layer]))
    bound = _declared(body, loaded, len(ids), len(layers[layer]))
    allowed = bound.dense()[0]  # (H, L, L), H 1 where heads do not differ
    shown, plane = layers[layer][head], allowed[min(head, len(allowed) - 1)]
    return {
        "mask": repr(bound.mask),
        "own": repr(loaded.mask),
        "tokens": [loaded.text(token) for token in ids],
        "ids": list(ids),
        "layer": layer,
        "head": head,
        "weights": base64.b64encode(shown.astype("<f8").tobytes()).decode(),
        "allowed": ["".join("01"[cell] for cell in row) for row in plane.tolist()],
        "forbidden": _forbidden(shown, plane),
        "everywhere": [
            [_forbidden(one, allowed[min(h, len(allowed) - 1)]) for h, one in enumerate(heads)] for heads in layers
        ],
        "notes": list(loaded.notes),
    }


def audited(body: Body) -> dict[str, Any]:
    """What `mw.audit` finds in the model under the declared mask, by its check of the mask."""
    _, loaded, ids = _asked(body)
    mask = _declared(body, loaded, len(ids), None).mask
    report = audit(loaded.model, torch.tensor(ids), mask, checks=["mask"])
    found = json.loads(report.to_json(), parse_constant=lambda _: None)
    for finding, said in zip(found["findings"], report.findings, strict=True):
        finding["text"] = str(said).splitlines()[0]
    return {"mask": repr(mask), **found}


ANSWERS: dict[str, Callable[[Body], dict[str, Any]]] = {"model": weights, "audit": audited}


def forget() -> None:
    """Let go of the model, and of its weights, that are kept between questions."""
    _attended.cache_clear()
    _loaded.cache_clear()


def _asked(body: Body) -> tuple[Source, Loaded, tuple[int, ...]]:
    source = _source(body)
    loaded = _loaded(source)
    ids = _ids(body, loaded)
    most = min(limits.MAX_PROMPT, loaded.context or limits.MAX_PROMPT)
    if not 1 <= len(ids) <= most:
        raise ArgumentError(f"a prompt has 1 to {most} tokens here, this one has {len(ids)}; change it")
    if max(ids) >= loaded.vocab_size:
        raise ArgumentError(
            f"the model's tokens are 0 to {loaded.vocab_size - 1}, the prompt holds {max(ids)}; take another"
        )
    return source, loaded, ids


def _source(body: Body) -> Source:
    path = _text(body, "path", limits.MAX_PATH)
    if path.startswith(examples.PREFIX):
        return path, _mask(body, causal())
    folder = folder_of(path)
    return str(folder), stamp(folder)


def _ids(body: Body, loaded: Loaded) -> tuple[int, ...]:
    given = body.get("ids")
    if given is not None:
        if not isinstance(given, list) or not all(type(token) is int and token >= 0 for token in given):
            raise ArgumentError(
                f"token ids are a list of whole numbers from 0, found {json.dumps(given)[:80]}; mend it"
            )
        return tuple(given)
    prompt = _text(body, "prompt", limits.MAX_EXPRESSION)
    if loaded.encode is None:
        raise ArgumentError("a text needs the model's tokenizer.json, its folder holds none; give token ids")
    return tuple(loaded.encode(prompt))


def _declared(body: Body, loaded: Loaded, length: int, heads: int | None) -> BoundMask:
    """The mask that the request names, or the one that the model says it keeps, at the prompt's length."""
    mask = _mask(body, loaded.mask)
    if mask.batch != 1:
        raise ArgumentError(f"one prompt is one batch row, the mask has {mask.batch}; declare the mask of one row")
    return mask.bind(length, heads=heads or mask.heads)


def _mask(body: Body, otherwise: Mask) -> Mask:
    """The mask that the request names."""
    return otherwise if body.get("mask") is None else parse(_text(body, "mask", limits.MAX_EXPRESSION))


def _forbidden(shown: np.ndarray, allowed: np.ndarray) -> dict[str, Any]:
    """What lies on forbidden cells; NaN is not 0."""
    cells = np.where(allowed, 0.0, shown)
    total = float(cells.sum())
    weight = total if math.isfinite(total) else None
    return {"cells": int((cells != 0).sum()), "weight": weight, "of": int((~allowed).sum())}


@lru_cache(maxsize=1)
def _loaded(source: Source) -> Loaded:
    path, mark = source
    return examples.example(path, mark) if path.startswith(examples.PREFIX) else load(Path(path))


@lru_cache(maxsize=2)
def _attended(source: Source, ids: tuple[int, ...]) -> list[np.ndarray]:
    """Weights (H, L, L) of each layer, kept while the user goes from head to head."""
    loaded = _loaded(source)
    watch = attended_hugging_face if loaded.hugging_face else attended
    try:
        found = watch(loaded.model, torch.tensor(ids))
    except (MaskworkError, MemoryError):
        raise
    except Exception as error:  # a stranger's model: whatever it raises is why it cannot be watched
        said = str(error).splitlines() or [""]
        raise ArgumentError(
            f"the model can't be run on these tokens, it raised {type(error).__name__}: {said[0][:300]}; take others"
        ) from None
    return [layer.numpy() for layer in found]


def _text(body: Body, name: str, most: int) -> str:
    found = body.get(name)
    if not isinstance(found, str) or not found.strip() or len(found) > most:
        raise ArgumentError(f"{name} is a text of 1 to {most} characters, found {json.dumps(found)[:80]}; give it")
    return found


def _number(body: Body, name: str, end: int) -> int:
    found = body.get(name, 0)
    if type(found) is not int or not 0 <= found < end:
        raise ArgumentError(f"the model's {name}s are 0 to {end - 1}, found {json.dumps(found)[:40]}; choose one")
    return found
