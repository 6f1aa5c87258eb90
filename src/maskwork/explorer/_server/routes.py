"""The questions and the parameters that each takes; the routes and their description are made of this table.

This file imports no geometry, so that the server's own process stays small.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import _limits as limits


@dataclass(frozen=True)
class Parameter:
    """A parameter: a text, or a whole number in [low, high] where these are given."""

    name: str
    low: int | None = None
    high: int | None = None
    required: bool = False


_MASK = Parameter("mask", required=True)
_GRID = (
    Parameter("length", 1, limits.MAX_LENGTH), Parameter("q_len", 1, limits.MAX_LENGTH),
    Parameter("kv_len", 1, limits.MAX_LENGTH), Parameter("q_start", 0, limits.MAX_LENGTH),
    Parameter("batch", 1, limits.MAX_PLANES), Parameter("heads", 1, limits.MAX_PLANES),
    Parameter("layers", 0, limits.MAX_LAYERS),
)  # fmt: skip
_PLANE = (Parameter("b", 0, limits.LAST_PLANE), Parameter("h", 0, limits.LAST_PLANE))
_ON_GRID = (_MASK, *_GRID)
_IN_PLANE = (*_ON_GRID, *_PLANE)
_Q, _K = Parameter("q", 0, limits.MAX_POSITION, required=True), Parameter("k", 0, limits.MAX_LENGTH, required=True)

QUESTIONS: dict[str, tuple[Parameter, ...]] = {
    "describe": _ON_GRID,
    # Named an `other` mask, a tile is three planes: what both allow, `mask` alone, and `other` alone.
    "tile": (*_IN_PLANE, Parameter("q0", 0, limits.MAX_LENGTH), Parameter("k0", 0, limits.MAX_LENGTH),
             Parameter("step", 1, limits.MAX_LENGTH), Parameter("shrink", 1, limits.MAX_SHRINK),
             Parameter("rows", 1, limits.MAX_TILE),
             Parameter("columns", 1, limits.MAX_TILE), Parameter("other")),
    "why": (*_IN_PLANE, _Q, _K),
    "row": (*_IN_PLANE, _Q),
    "column": (*_IN_PLANE, _K),
    "cells": _IN_PLANE,
    "compare": (*_ON_GRID, Parameter("other", required=True)),
    "cost": (*_ON_GRID, Parameter("model_layers", 1, limits.MAX_LAYERS), Parameter("query_heads", 1, limits.MAX_HEADS),
             Parameter("kv_heads", 1, limits.MAX_HEADS), Parameter("head_dim", 1, limits.MAX_HEAD_DIM),
             Parameter("dtype"), Parameter("block_size", 1, limits.MAX_LENGTH)),
    "path": (*_IN_PLANE, _Q, _K),
    "svg": (*_IN_PLANE, Parameter("size", 64, limits.MAX_PICTURE)),
    "code": (*_ON_GRID, Parameter("to")),
    "patterns": (),
}  # fmt: skip

#: Questions that read files: asked by POST with a JSON object, and with the launch's token.
LOADING = ("model", "audit")
