"""The answers about a mask, computed from its exact geometry. NumPy only: no tensor, no web.

Each function of `ANSWERS` takes the parameters of one request and returns what is sent. The page draws one picture of
many tiles, so the last few bound masks are cached between requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...lower import to_code
from ...masks import BoundMask, Explanation, parse
from ...masks._questions.documents import documents
from ...masks._questions.path import path
from .. import _limits as limits
from .gallery import gallery
from .request import MaskRequest, Parameters, integer

#: What is sent: a JSON value, or bytes as they are.
Answer = dict[str, Any] | bytes


def describe(parameters: Parameters) -> Answer:
    """Return the mask in canonical form, its grid, and exactly how many pairs it allows."""
    request = MaskRequest.read(parameters)
    bound = _bound(request)
    batch, heads, q_len, kv_len = bound.shape
    return {
        "text": repr(bound.mask) if not request.layers else f"{parse(request.expression)!r}, {request.layers} layers",
        "shape": [batch, heads, q_len, kv_len],
        "q_start": bound.grid.q_start,
        "allowed": bound.allowed,
        "cells": batch * heads * q_len * kv_len,
        "empty_rows": int(bound.empty_rows().sum()),
        "runs": bound.spans.runs,
    }


#: Types of a tile's counts, and the largest that each holds exactly.
_COUNTS = (("<u1", 0xFF), ("<u2", 0xFFFF), ("<u4", 0xFFFF_FFFF), ("<f8", 1 << 53))


def tile(parameters: Parameters) -> Answer:
    """Return the allowed pairs under each pixel, (rows, columns), row by row, little-endian.

    The type is the smallest exact one of uint8, uint16, uint32 and float64: the page tells them by the 1, 2, 4 or 8
    bytes of a count.

    Pixel (i, j) covers queries [q0 + i*step // shrink, q0 + (i+1)*step // shrink) and keys likewise, cut off at the
    grid's end: with `shrink` above 1 pixels take turns in covering a cell more. With a mask
    `other` there are three such planes, (3, rows, columns): pairs that both allow, only `mask`, and only `other`.
    """
    request = MaskRequest.read(parameters)
    bound = _bound(request)
    step, shrink = integer(parameters, "step", 1, 1), integer(parameters, "shrink", 1, 1, limits.MAX_SHRINK)
    rows, columns = (integer(parameters, name, 256, 1, limits.MAX_TILE) for name in ("rows", "columns"))
    q0, k0 = (integer(parameters, name, 0) for name in ("q0", "k0"))
    grid = bound.grid
    q_edges = np.minimum(grid.q_first + q0 + step * np.arange(rows + 1) // shrink, grid.q_end)
    k_edges = np.minimum(k0 + step * np.arange(columns + 1) // shrink, grid.kv_len)

    def counts(bound: BoundMask) -> np.ndarray:
        return _in_plane(bound.tiles(q_edges, k_edges), *_plane(bound, parameters))

    pixels = counts(bound)
    if parameters.get("other"):
        other = MaskRequest.read(parameters, "other")
        both = counts(_both(request, other))
        pixels = np.stack([both, pixels - both, counts(_bound(other)) - both])
    most = pixels.max(initial=0)
    return pixels.astype(next(kind for kind, holds in _COUNTS if most <= holds)).tobytes()


def why(parameters: Parameters) -> Answer:
    """Return why query `q` may see key `k`, or the smallest set of terms that blocks it."""
    bound = _bound(MaskRequest.read(parameters))
    b, h = _plane(bound, parameters)
    explanation = bound.explain(integer(parameters, "q", high=limits.MAX_POSITION), integer(parameters, "k"), b, h)
    return {"allowed": explanation.allowed, "why": _tree(explanation), "text": str(explanation)}


def row(parameters: Parameters) -> Answer:
    """Return the keys that query `q` sees, as runs [start, end)."""
    bound = _bound(MaskRequest.read(parameters))
    b, h = _plane(bound, parameters)
    q = integer(parameters, "q", high=limits.MAX_POSITION)
    grid = bound.grid
    if not grid.q_first <= q < grid.q_end:
        raise ArgumentError(f"a row is a query in [{grid.q_first}, {grid.q_end}), got {q}")
    spans = bound.spans
    runs = spans.row(q - grid.q_first, min(b, spans.shape[0] - 1), min(h, spans.shape[1] - 1))
    return {"runs": runs[: limits.MAX_RUNS], "more": max(len(runs) - limits.MAX_RUNS, 0),
            "count": sum(end - start for start, end in runs)}  # fmt: skip


def column(parameters: Parameters) -> Answer:
    """Return the last query that may see key `k`, -1 if none does: after it a cache may drop the key."""
    request = MaskRequest.read(parameters)
    bound = _bound(request)
    b, h = _plane(bound, parameters)
    k = integer(parameters, "k")
    if k >= bound.grid.kv_len:
        raise ArgumentError(f"a column is a key in [0, {bound.grid.kv_len}), got {k}")
    return {"last_seen": int(_in_plane(_last_seen(request), b, h)[k])}


def cells(parameters: Parameters) -> Answer:
    """Return every cell of a short grid, one text of 0 and 1 per query; and each key's last query and document."""
    request = MaskRequest.read(parameters)
    if max(request.q_len, request.kv_len) > limits.MAX_DENSE:
        raise ArgumentError(
            f"cell by cell at most {limits.MAX_DENSE} positions are shown, got {request.q_len} x {request.kv_len}; "
            "shorten the length"
        )
    bound = _bound(request)
    b, h = _plane(bound, parameters)
    return {
        "rows": ["".join("01"[cell] for cell in line) for line in _in_plane(bound.dense(), b, h).tolist()],
        "last_seen": _in_plane(_last_seen(request), b, h).tolist(),
        "documents": documents(parse(request.expression), request.kv_len, b),
        "q_start": bound.grid.q_start,
    }


def compare(parameters: Parameters) -> Answer:
    """Return how `mask` and `other` differ: exact counts and first cells."""
    diff = _bound(MaskRequest.read(parameters)).diff(_bound(MaskRequest.read(parameters, "other")))
    return {
        "both": diff.both, "only_left": diff.only_left, "only_right": diff.only_right, "neither": diff.neither,
        "first_left": diff.first_left, "first_right": diff.first_right,
    }  # fmt: skip


def cost(parameters: Parameters) -> Answer:
    """Return FLOPs, bytes and blocks of attention under the mask, and the bytes of each of its lowerings."""
    bound = _bound(MaskRequest.read(parameters))
    size = integer(parameters, "block_size", 128, 1)
    costs = bound.cost(
        layers=integer(parameters, "model_layers", 32, 1, limits.MAX_LAYERS),
        heads=integer(parameters, "query_heads", 32, 1, limits.MAX_HEADS),
        kv_heads=integer(parameters, "kv_heads", 8, 1, limits.MAX_HEADS),
        head_dim=integer(parameters, "head_dim", 128, 1, limits.MAX_HEAD_DIM),
        dtype=parameters.get("dtype") or "bfloat16",
        block_size=size,
    )
    waste = []
    for edge in (16, 32, 64, 128, 256):
        computed = bound.blocks(edge).cells
        waste.append({"block_size": edge, "waste": 1 - bound.allowed / computed if computed else 0.0})
    return {
        "flops": costs.flops, "block_flops": costs.block_flops, "dense_flops": costs.dense_flops,
        "block_waste": costs.block_waste, "bytes_moved": costs.bytes_moved, "intensity": costs.intensity,
        "cache_bytes": costs.cache_bytes, "cache_bytes_kept": costs.cache_bytes_kept,
        "waste": waste, "storage": _storage(bound, size),
    }  # fmt: skip


def reach_path(parameters: Parameters) -> Answer:
    """Return how key `k` reaches query `q` through the fewest layers; no path where `layers` are too few."""
    request = MaskRequest.read(parameters)
    # On the way every position is a query, also where only the last ones are shown, or some beyond the keys.
    base = replace(request, q_len=max(request.kv_len, request.q_start + request.q_len), q_start=0, layers=0)
    b, _ = _plane(_bound(base), parameters)
    q, k = integer(parameters, "q", high=limits.MAX_POSITION), integer(parameters, "k")
    steps = path(_bound_through(base, 1).spans, q, k, request.layers or 1, b)
    return {"path": steps}


def picture(parameters: Parameters) -> Answer:
    """Return the drawing of one plane as an SVG document, exact at any length."""
    bound = _bound(MaskRequest.read(parameters))
    b, h = _plane(bound, parameters)
    return {"svg": bound.svg(b=b, h=h, size=integer(parameters, "size", 768, 64, limits.MAX_PICTURE))}


def export(parameters: Parameters) -> Answer:
    """Return Python source that makes the mask for a library."""
    request = MaskRequest.read(parameters)
    if request.layers:
        raise ArgumentError(f"code is of a mask and not of its reach, got {request.layers} layers; leave layers at 0")
    return {"code": to_code(_bound(request), parameters.get("to", "maskwork"))}


def patterns(_: Parameters) -> Answer:
    """Return the gallery of atoms and recipes."""
    return {"patterns": gallery()}


ANSWERS: dict[str, Callable[[Parameters], Answer]] = {
    "describe": describe, "tile": tile, "why": why, "row": row, "column": column, "cells": cells, "compare": compare,
    "cost": cost, "path": reach_path, "svg": picture,
    "code": export, "patterns": patterns,
}  # fmt: skip


def forget() -> None:
    """Drop what is cached between requests, which may be large."""
    for cached in (_bound, _bound_through, _both, _last_seen):
        cached.cache_clear()


@lru_cache(maxsize=8)
def _bound(request: MaskRequest) -> BoundMask:
    """Return the bound mask, cached because all tiles of one picture share it."""
    if request.layers:
        return _bound_through(replace(request, layers=0), request.layers)
    mask = parse(request.expression)
    return mask.bind(request.q_len, request.kv_len, q_start=request.q_start, batch=request.batch, heads=request.heads)


@lru_cache(maxsize=8)
def _bound_through(request: MaskRequest, layers: int) -> BoundMask:
    return _bound(request).reach(layers)


@lru_cache(maxsize=4)
def _both(request: MaskRequest, other: MaskRequest) -> BoundMask:
    """Return what both masks allow, on their one grid. Masks are joined, since joined texts might be too long."""
    mask = _bound(request).mask & _bound(other).mask
    return mask.bind(request.q_len, request.kv_len, q_start=request.q_start, batch=request.batch, heads=request.heads)


@lru_cache(maxsize=4)
def _last_seen(request: MaskRequest) -> np.ndarray:
    """Return each key's last query (B, H, K), as a read-only array: the cache hands out the same one again."""
    last_seen = _bound(request).last_seen()
    last_seen.flags.writeable = False
    return last_seen


def _plane(bound: BoundMask, parameters: Parameters) -> tuple[int, int]:
    """Return batch row and head.

    Where the grid has one, nothing differs along the axis, and the number is ignored: the page may show mask and reach,
    or two masks, of which one alone has heads.
    """
    b, h = (integer(parameters, name, 0, 0, limits.LAST_PLANE) for name in ("b", "h"))
    return bound.grid.check_plane(b if bound.grid.batch > 1 else 0, h if bound.grid.heads > 1 else 0)


def _in_plane(values: np.ndarray, b: int, h: int) -> np.ndarray:
    """Return the values (B, H, …) of one plane; an axis along which nothing differs has size 1."""
    return values[min(b, len(values) - 1), min(h, values.shape[1] - 1)]


def _tree(explanation: Explanation) -> dict[str, Any]:
    return {
        "text": repr(explanation.mask)[:200],
        "allowed": explanation.allowed,
        "reason": explanation.reason,
        "children": [_tree(child) for child in explanation.children],
    }


def _storage(bound: BoundMask, size: int) -> list[dict[str, Any]]:
    """Return the bytes of each lowering of the mask, over the batch rows and heads in which the mask differs."""
    batch, heads, q_len, kv_len = bound.shape
    planes, pairs = batch * heads, batch * heads * q_len * kv_len
    q_blocks, k_blocks = -(-q_len // size), -(-kv_len // size)
    # FlexAttention keeps partial and full blocks apart, each by rows and by columns: a count and all indices a line.
    blocks = 2 * planes * 4 * (q_blocks * (k_blocks + 1) + k_blocks * (q_blocks + 1))
    return [
        {"name": "dense bool (SDPA)", "bytes": pairs},
        {"name": "additive float32", "bytes": 4 * pairs},
        {"name": "additive bfloat16 (Hugging Face)", "bytes": 2 * pairs},
        {"name": f"BlockMask of {size} (FlexAttention)", "bytes": blocks},
        {"name": "spans (maskwork)", "bytes": int(2 * 4 * planes * q_len * bound.spans.runs)},
    ]
