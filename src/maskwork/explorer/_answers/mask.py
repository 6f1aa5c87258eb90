"""The explorer's questions about a mask, answered from its exact geometry. NumPy only: no tensor, no web."""

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
from .request import Asked, Parameters, integer

#: What is sent: a JSON value, or bytes as they are.
Answer = dict[str, Any] | bytes


def describe(parameters: Parameters) -> Answer:
    """The mask in canonical form, its grid, and exactly how many pairs it allows."""
    asked = Asked.read(parameters)
    bound = _bound(asked)
    batch, heads, q_len, kv_len = bound.shape
    return {
        "text": repr(bound.mask) if not asked.layers else f"{parse(asked.expression)!r}, {asked.layers} layers",
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
    """Allowed pairs under each pixel, (rows, columns), row by row, little-endian, in the smallest type that holds them.

    That is uint8, uint16, uint32 or float64, whose 1, 2, 4 or 8 bytes tell which.

    Pixel (i, j) covers queries [q0 + i*step // shrink, q0 + (i+1)*step // shrink) and keys likewise, cut off at the
    grid's end: with `shrink` above 1 pixels take turns in covering a cell more. With a mask
    `other` there are three such planes, (3, rows, columns): pairs that both allow, only `mask`, and only `other`.
    """
    asked = Asked.read(parameters)
    bound = _bound(asked)
    step, shrink = integer(parameters, "step", 1, 1), integer(parameters, "shrink", 1, 1, limits.MAX_SHRINK)
    rows, columns = (integer(parameters, name, 256, 1, limits.MAX_TILE) for name in ("rows", "columns"))
    q0, k0 = (integer(parameters, name, 0) for name in ("q0", "k0"))
    grid = bound.grid
    q_edges = np.minimum(grid.q_start + q0 + step * np.arange(rows + 1) // shrink, grid.q_end)
    k_edges = np.minimum(k0 + step * np.arange(columns + 1) // shrink, grid.kv_len)

    def counts(bound: BoundMask) -> np.ndarray:
        return _in_plane(bound.tiles(q_edges, k_edges), *_plane(bound, parameters))

    found = counts(bound)
    if parameters.get("other"):
        other = Asked.read(parameters, "other")
        both = counts(_both(asked, other))
        found = np.stack([both, found - both, counts(_bound(other)) - both])
    most = found.max(initial=0)
    return found.astype(next(kind for kind, holds in _COUNTS if most <= holds)).tobytes()


def why(parameters: Parameters) -> Answer:
    """Why query `q` may see key `k`, or the smallest set of terms that blocks it."""
    bound = _bound(Asked.read(parameters))
    b, h = _plane(bound, parameters)
    explanation = bound.explain(integer(parameters, "q", high=limits.MAX_POSITION), integer(parameters, "k"), b, h)
    return {"allowed": explanation.allowed, "why": _tree(explanation), "text": str(explanation)}


def row(parameters: Parameters) -> Answer:
    """The keys that query `q` sees, as runs [start, end)."""
    bound = _bound(Asked.read(parameters))
    b, h = _plane(bound, parameters)
    q = integer(parameters, "q", high=limits.MAX_POSITION)
    grid = bound.grid
    if not grid.q_start <= q < grid.q_end:
        raise ArgumentError(f"a row is a query in [{grid.q_start}, {grid.q_end}); found {q}; ask for one of them")
    spans = bound.spans
    runs = spans.row(q - grid.q_start, min(b, spans.shape[0] - 1), min(h, spans.shape[1] - 1))
    return {"runs": runs[: limits.MAX_RUNS], "more": max(len(runs) - limits.MAX_RUNS, 0),
            "count": sum(end - start for start, end in runs)}  # fmt: skip


def column(parameters: Parameters) -> Answer:
    """The last query that may see key `k`, -1 if none does: when a cache may drop it."""
    asked = Asked.read(parameters)
    bound = _bound(asked)
    b, h = _plane(bound, parameters)
    k = integer(parameters, "k")
    if k >= bound.grid.kv_len:
        raise ArgumentError(f"a column is a key in [0, {bound.grid.kv_len}); found {k}; ask for one of them")
    return {"last_seen": int(_in_plane(_last_seen(asked), b, h)[k])}


def cells(parameters: Parameters) -> Answer:
    """Every cell of a short grid, 0 and 1 in a text a row; each key's last query and document."""
    asked = Asked.read(parameters)
    if max(asked.q_len, asked.kv_len) > limits.MAX_DENSE:
        raise ArgumentError(
            f"cell by cell at most {limits.MAX_DENSE} positions are shown, found {asked.q_len} x {asked.kv_len}; "
            "shorten the length"
        )
    bound = _bound(asked)
    b, h = _plane(bound, parameters)
    return {
        "rows": ["".join("01"[cell] for cell in line) for line in _in_plane(bound.dense(), b, h).tolist()],
        "last_seen": _in_plane(_last_seen(asked), b, h).tolist(),
        "documents": documents(parse(asked.expression), asked.kv_len, b),
        "q_start": bound.grid.q_start,
    }


def compare(parameters: Parameters) -> Answer:
    """How `mask` and `other` differ: exact counts and first cells."""
    diff = _bound(Asked.read(parameters)).diff(_bound(Asked.read(parameters, "other")))
    return {
        "both": diff.both, "only_left": diff.only_left, "only_right": diff.only_right, "neither": diff.neither,
        "first_left": diff.first_left, "first_right": diff.first_right,
    }  # fmt: skip


def cost(parameters: Parameters) -> Answer:
    """FLOPs, bytes and blocks of attention under the mask, and what each lowering of it holds."""
    bound = _bound(Asked.read(parameters))
    size = integer(parameters, "block_size", 128, 1)
    found = bound.cost(
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
        "flops": found.flops, "block_flops": found.block_flops, "dense_flops": found.dense_flops,
        "block_waste": found.block_waste, "bytes_moved": found.bytes_moved, "intensity": found.intensity,
        "cache_bytes": found.cache_bytes, "cache_bytes_kept": found.cache_bytes_kept,
        "waste": waste, "storage": _storage(bound, size),
    }  # fmt: skip


def reach_path(parameters: Parameters) -> Answer:
    """How key `k` reaches query `q` through the fewest layers, or that it cannot through so many."""
    asked = Asked.read(parameters)
    # On the way every position is a query, also where only the last ones are shown, or some beyond the keys.
    base = replace(asked, q_len=max(asked.kv_len, asked.q_start + asked.q_len), q_start=0, layers=0)
    b, _ = _plane(_bound(base), parameters)
    q, k = integer(parameters, "q", high=limits.MAX_POSITION), integer(parameters, "k")
    steps = path(_bound_through(base, 1).spans, q, k, asked.layers or 1, b)
    return {"path": steps}


def picture(parameters: Parameters) -> Answer:
    """The drawing of one plane as an SVG document, exact at any length."""
    bound = _bound(Asked.read(parameters))
    b, h = _plane(bound, parameters)
    return {"svg": bound.svg(b=b, h=h, size=integer(parameters, "size", 768, 64, limits.MAX_PICTURE))}


def export(parameters: Parameters) -> Answer:
    """Python source that makes the mask for a library."""
    asked = Asked.read(parameters)
    if asked.layers:
        raise ArgumentError("code is of a mask and not of its reach, got layers; leave layers at 0")
    return {"code": to_code(_bound(asked), parameters.get("to", "maskwork"))}


def patterns(_: Parameters) -> Answer:
    """The gallery of atoms and recipes."""
    return {"patterns": gallery()}


ANSWERS: dict[str, Callable[[Parameters], Answer]] = {
    "describe": describe, "tile": tile, "why": why, "row": row, "column": column, "cells": cells, "compare": compare,
    "cost": cost, "path": reach_path, "svg": picture,
    "code": export, "patterns": patterns,
}  # fmt: skip


def forget() -> None:
    """Let go of what is kept between questions: they may be large."""
    for kept in (_bound, _bound_through, _both, _last_seen):
        kept.cache_clear()


@lru_cache(maxsize=8)
def _bound(asked: Asked) -> BoundMask:
    """The geometry, kept for the tiles of one picture to share."""
    if asked.layers:
        return _bound_through(replace(asked, layers=0), asked.layers)
    mask = parse(asked.expression)
    return mask.bind(asked.q_len, asked.kv_len, q_start=asked.q_start, batch=asked.batch, heads=asked.heads)


@lru_cache(maxsize=8)
def _bound_through(asked: Asked, layers: int) -> BoundMask:
    return _bound(asked).reach(layers)


@lru_cache(maxsize=4)
def _both(asked: Asked, other: Asked) -> BoundMask:
    """What both allow, on their one grid. Masks are joined, not texts: each may be as long as a text may be."""
    mask = _bound(asked).mask & _bound(other).mask
    return mask.bind(asked.q_len, asked.kv_len, q_start=asked.q_start, batch=asked.batch, heads=asked.heads)


@lru_cache(maxsize=4)
def _last_seen(asked: Asked) -> np.ndarray:
    return _bound(asked).last_seen()


def _plane(bound: BoundMask, parameters: Parameters) -> tuple[int, int]:
    """Batch row and head. Where the grid has one, nothing differs along the axis, and any will do: the page may show
    mask and reach, or two masks, of which one alone has heads."""
    b, h = (integer(parameters, name, 0, 0, limits.MAX_PLANES) for name in ("b", "h"))
    return bound.grid.check_plane(b if bound.grid.batch > 1 else 0, h if bound.grid.heads > 1 else 0)


def _in_plane(values: np.ndarray, b: int, h: int) -> np.ndarray:
    """The values (B, H, …) of one plane, where an axis along which nothing differs has size 1."""
    return values[min(b, len(values) - 1), min(h, values.shape[1] - 1)]


def _tree(explanation: Explanation) -> dict[str, Any]:
    return {
        "text": repr(explanation.mask)[:200],
        "allowed": explanation.allowed,
        "reason": explanation.reason,
        "children": [_tree(child) for child in explanation.children],
    }


def _storage(bound: BoundMask, size: int) -> list[dict[str, Any]]:
    """Bytes that each lowering of the mask holds, over the batch rows and heads in which it differs."""
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
