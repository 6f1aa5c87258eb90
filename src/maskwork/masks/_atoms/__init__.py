"""The atoms. They register themselves as they are imported, in the order in which messages and guides name them."""

# ruff: noqa: I001
from . import (
    positions,
    padding,
    real,
    documents,
    ids,
    blocks,
    per,
    sparse,
    tree,
    neighborhood,
    packed,
    rectangles,
    intervals,
)
from . import custom, interop

__all__ = [
    "blocks",
    "custom",
    "documents",
    "ids",
    "interop",
    "intervals",
    "neighborhood",
    "packed",
    "padding",
    "per",
    "positions",
    "real",
    "rectangles",
    "sparse",
    "tree",
]
