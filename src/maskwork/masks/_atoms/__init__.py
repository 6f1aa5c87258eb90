"""The atoms. They register themselves as they are imported, in the order in which messages and guides name them."""

# ruff: noqa: I001
from . import (
    positions,
    padding,
    real,
    documents,
    ids,
    blocks,
    block_table,
    per,
    sparse,
    tree,
    edges,
    neighborhood,
    packed,
    rectangles,
    intervals,
)
from . import custom, interop

__all__ = [
    "block_table",
    "blocks",
    "custom",
    "documents",
    "edges",
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
